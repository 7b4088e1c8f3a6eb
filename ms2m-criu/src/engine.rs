//! What a container engine restores by itself, from an image: made ready on the copy's node.
//!
//! Nobody of ms2m is there when the engine's runtime calls CRIU, so whatever the copy cannot have is changed in the images before: its connections come
//! up closed.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt as _;

use crate::archive::{Expect, Limits, MANIFEST, Manifest, extract, extract_stream};
use crate::criu::Criu;
use crate::local::bundle::{io, make_directory, remove_directory};
use crate::local::check::{self, Machine};
use crate::local::connections::close_all;
use crate::runtime::Flavor;

/// Of a member's head, in which its name stands first.
const NAME_BYTES: usize = 100;

/// What has arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct Received {
    /// Where `checkpoint/` is, and `rootfs-diff.tar` where the container has written something; an engine's documents as well, if one has taken it.
    pub directory: PathBuf,
    /// What a checkpoint of ms2m says of itself.
    pub manifest: Option<Manifest>,
}

/// Takes in the checkpoint of this container, by ms2m or by an engine, below `directory`, which is made anew.
///
/// # Errors
/// When it is damaged, cannot be restored on this machine, or was not taken for an image; nothing is left of it then.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn receive(body: ByteStream, directory: &Path, container: &str, criu: &Criu) -> Result<Received> {
    remove_directory(directory)?;
    if let Some(parent) = directory.parent() {
        make_directory(parent, 0o700)?;
    }
    let received = take_in(body, directory, container, criu).await;
    if received.is_err() {
        let _ = remove_directory(directory);
    }
    received
}

async fn take_in(body: ByteStream, directory: &Path, container: &str, criu: &Criu) -> Result<Received> {
    let (first, rest) = beginning(body).await?;
    let is_ours = first.get(..MANIFEST.len()) == Some(MANIFEST.as_bytes()) && first.get(MANIFEST.len()) == Some(&0);
    let body: ByteStream = Box::pin(stream::once(async { Ok(first) }).chain(rest));
    let received = if is_ours { ours(body, directory, container, criu).await? } else { engines(body, directory).await? };
    let images = received.directory.join("checkpoint");
    check::images(&images)?;
    close_all(&images)?;
    Ok(received)
}

async fn ours(body: ByteStream, directory: &Path, container: &str, criu: &Criu) -> Result<Received> {
    let version = criu.version().await?;
    let extracted = extract_stream(body, directory, &Limits::default()).await?;
    let manifest = extracted.manifest.ok_or_else(|| Error::fatal(ErrorKind::Corrupt, "what has arrived has no manifest"))?;
    if !manifest.for_image {
        let message = "the checkpoint was not taken to become an image; use programs of the same release on all nodes";
        return Err(Error::fatal(ErrorKind::Unsupported, message).with("container", container));
    }
    let features = crate::facts::cpu_features();
    let architecture = std::env::consts::ARCH;
    check::manifest(&manifest, &Machine { flavor: Flavor::Runc, criu: &version, architecture, cpu_features: &features }, &[container])?;
    Ok(Received { directory: directory.join("containers").join(container), manifest: Some(manifest) })
}

/// Engines may have compressed it, so it is looked at as a file.
async fn engines(mut body: ByteStream, directory: &Path) -> Result<Received> {
    let archive = directory.with_extension("tar");
    let written = async {
        let mut file = tokio::fs::File::create(&archive).await.map_err(io("the archive", &archive))?;
        while let Some(piece) = body.next().await {
            file.write_all(&piece?).await.map_err(io("the archive", &archive))?;
        }
        file.flush().await.map_err(io("the archive", &archive))
    };
    let extracted = match written.await {
        Ok(()) => {
            let (from, to) = (archive.clone(), directory.to_owned());
            let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
            let work = move || extract(&from, &to, &Limits::default(), Expect::Any);
            tokio::task::spawn_blocking(work).await.map_err(died)?.map_err(Error::from)
        }
        Err(error) => Err(error),
    };
    let _ = std::fs::remove_file(&archive);
    extracted?;
    Ok(Received { directory: directory.to_owned(), manifest: None })
}

/// Its first bytes, which tell who has written it, and the rest.
async fn beginning(mut body: ByteStream) -> Result<(Bytes, ByteStream)> {
    let mut first = BytesMut::new();
    while first.len() < NAME_BYTES {
        match body.next().await {
            Some(piece) => first.extend_from_slice(&piece?),
            None => break,
        }
    }
    Ok((first.freeze(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Box::pin(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_beginning_in_small_pieces_is_put_together() {
        let (first, mut rest) = beginning(body(&[b"mani", &[b'x'; 98], b"rest"])).await.unwrap();
        assert_eq!(first.len(), 102);
        assert_eq!(rest.next().await.unwrap().unwrap(), Bytes::from_static(b"rest"));
        let (first, _) = beginning(body(&[b"short"])).await.unwrap();
        assert_eq!(first, Bytes::from_static(b"short"));
    }

    #[tokio::test]
    async fn what_is_no_checkpoint_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("arrived");
        receive(body(&[b"no archive at all"]), &directory, "main", &Criu::new("criu")).await.unwrap_err();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
