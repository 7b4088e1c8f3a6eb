//! What arrives at the target.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Hasher, Part, Receipt, Result, TransferBackend};

use super::job::{ARRIVED, JobDir, make};
use super::{failed, remove};
use crate::archive::{Limits, Manifest, extract_stream};

impl JobDir {
    /// Unpacks a part that has arrived. What was unpacked before is replaced. Dropped in the middle, it leaves nothing.
    ///
    /// # Errors
    /// When the archive is refused, its digest is not the receipt's, or it cannot be written; nothing is left of it then.
    pub async fn unpack(&self, receipt: &Receipt, transfer: &Arc<dyn TransferBackend>, limits: &Limits) -> Result<Manifest> {
        let (directory, part) = (self.arrived(receipt.part), receipt.part);
        remove::tree(&directory)?;
        make(&self.path().join(ARRIVED))?;
        let body =
            Verified { body: transfer.open(receipt, 0).await?, hash: Some(receipt.digest.algorithm().hasher()), digest: receipt.digest };
        let unpacked = extract_stream(Box::pin(body), &directory, limits).await.map_err(Error::from);
        match unpacked.map(|extracted| extracted.manifest) {
            Ok(Some(manifest)) => Ok(manifest),
            Ok(None) => {
                remove::tree(&directory)?;
                Err(Error::undo(ErrorKind::Invalid, "the archive is none of ms2m's: use the same driver at both ends").with("part", part))
            }
            Err(error) => Err(error.with("part", part)),
        }
    }

    /// The manifest of a part that was unpacked completely.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn unpacked(&self, part: Part) -> Result<Option<Manifest>> {
        let json = self.read(&self.arrived(part).join(crate::archive::MANIFEST))?;
        Ok(json.map(|json| Manifest::parse(&json)).transpose()?)
    }

    /// Makes the links by which CRIU finds the round on which each part builds. `parts` in order; returns nothing, for the images to
    /// restore from are those of the last one.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn link(&self, parts: &[Part], container: &str) -> Result<()> {
        for pair in parts.windows(2) {
            let link = self.restored_images(pair[1], container).join("parent");
            let parent = Path::new("../../../..").join(pair[0].to_string()).join("containers").join(container).join("checkpoint");
            let made = match std::fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => std::os::unix::fs::symlink(parent, &link),
            };
            made.map_err(|error| failed("linking a part to the round before", &link, error))?;
        }
        Ok(())
    }

    /// Makes a link to the images to restore from: in a pid namespace of its own CRIU before 4.2 takes nothing else.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link_images(&self, container: &str) -> Result<PathBuf> {
        let link = self.path().join(format!("{container}.images"));
        match std::os::unix::fs::symlink(self.restored_images(Part::Final, container), &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed("linking the images to restore", &link, error)),
            _ => Ok(link),
        }
    }

    /// CRIU's images of a container in an unpacked part.
    #[must_use]
    pub fn restored_images(&self, part: Part, container: &str) -> PathBuf {
        self.restored(part, container).join("checkpoint")
    }

    /// Everything of a container in an unpacked part: `checkpoint/`, and what travelled beside it.
    #[must_use]
    pub fn restored(&self, part: Part, container: &str) -> PathBuf {
        self.arrived(part).join("containers").join(container)
    }

    fn arrived(&self, part: Part) -> PathBuf {
        self.path().join(ARRIVED).join(part.to_string())
    }
}

/// Fails at its end unless the bytes are those of the digest.
struct Verified {
    body: ByteStream,
    hash: Option<Hasher>,
    digest: Digest,
}

impl Stream for Verified {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.body.as_mut().poll_next(cx));
        Poll::Ready(match piece {
            Some(Ok(piece)) => {
                if let Some(hash) = &mut self.hash {
                    hash.update(&piece);
                }
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(error)),
            None => self.hash.take().and_then(|hash| {
                let found = hash.finalize();
                let text = "what arrived is not what was sent: its digest differs; send it again";
                (found != self.digest).then(|| Err(Error::undo(ErrorKind::Corrupt, text).with("digest", self.digest)))
            }),
        })
    }
}
