//! Into the directory: bytes come from a stream, a thread of its own writes and digests them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use ms2m_core::{ByteStream, Digest, DigestAlgorithm, Error, ErrorKind, Part, Result};
use tokio::sync::mpsc;

use crate::backend::{failed, file_name};
use crate::publish::Publication;
use crate::sparse::Sparse;

/// Pieces between reader and writer. Of 1 MiB each: enough to hide the other side's hiccups, little to hold.
const PIECES: usize = 4;

/// Two calls for one part never write the same file.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Writes `body` to a file in `directory`, which appears when it is complete; when it is to be `durable`, on disk.
pub(crate) async fn send(directory: &Path, part: Part, archive_bytes: u64, durable: bool, mut body: ByteStream) -> Result<Digest> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let publication = Publication::default();
    let claim = publication.claim();
    let writer = {
        let directory = directory.to_owned();
        tokio::task::spawn_blocking(move || Unfinished::create(directory, part, durable)?.write(archive_bytes, receiver, &publication))
    };
    let mut broken = None;
    while let Some(piece) = body.next().await {
        match piece {
            // A writer that has gone says why when it is asked below.
            Ok(piece) => {
                if sender.send(Some(piece)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    if broken.is_none() {
        let _ = sender.send(None).await;
    }
    drop(sender);
    let written = writer.await.map_err(|error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error))?;
    match broken {
        Some(error) => Err(error),
        None => {
            let digest = written?;
            claim.keep();
            Ok(digest)
        }
    }
}

/// A file on its way; removed unless it arrives.
struct Unfinished {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    part: Part,
    durable: bool,
}

impl Unfinished {
    fn create(directory: PathBuf, part: Part, durable: bool) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed("made", &directory))?;
        if let Some(above) = directory.parent().filter(|_| durable) {
            // Else a power cut could take the directory with all that is in it.
            File::open(above).and_then(|above| above.sync_all()).map_err(failed("written", above))?;
        }
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".{part}.{}-{call}.part", std::process::id()));
        // A dead process of this number may have left one.
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed("made", &path))?;
        Ok(Self { file, path, directory, part, durable })
    }

    /// Writes until the end was announced. When the stream just breaks off, nothing appears.
    fn write(self, archive_bytes: u64, mut pieces: mpsc::Receiver<Option<Bytes>>, publication: &Publication) -> Result<Digest> {
        let wrong = |bytes: u64| {
            let message = format!("the checkpoint has {bytes} bytes instead of the {archive_bytes} that were announced");
            Error::undo(ErrorKind::Corrupt, message)
        };
        let (mut digest, mut bytes, mut sparse) = (DigestAlgorithm::Blake3.hasher(), 0_u64, Sparse::new(&self.file));
        while let Some(piece) = pieces.blocking_recv() {
            let Some(piece) = piece else {
                if bytes != archive_bytes {
                    return Err(wrong(bytes));
                }
                sparse.finish().map_err(failed("written", &self.path))?;
                if self.durable {
                    // Network file systems report a full disk as late as this.
                    self.file.sync_all().map_err(failed("written", &self.path))?;
                }
                let digest = digest.finalize();
                publication.publish(&self.path, &self.directory, self.part, &file_name(self.part, digest), self.durable)?;
                return Ok(digest);
            };
            bytes += piece.len() as u64;
            if bytes > archive_bytes {
                return Err(wrong(bytes));
            }
            digest.update(&piece);
            sparse.write(&piece).map_err(failed("written", &self.path))?;
        }
        Err(Error::retry(ErrorKind::Unavailable, "the checkpoint broke off"))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Missing when it has arrived.
        let _ = std::fs::remove_file(&self.path);
    }
}
