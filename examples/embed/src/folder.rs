//! A [`TransferBackend`] through a directory that both sides see.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{
    ByteStream, Digest, Error, ErrorKind, MigrationId, Part, Receipt, Result, TransferBackend, TransferCapability, TransferJob,
};
use tokio::time::timeout;

/// Keeps a checkpoint in memory while it passes: fit for small ones, as the limit says.
const BYTES_MAX: u64 = 16 << 20;
const PIECE_BYTES: usize = 1 << 19;

/// One directory per migration, one file per part.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: PathBuf,
    /// Two calls for one part never write the same file.
    calls: AtomicU64,
}

impl Folder {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), calls: AtomicU64::new(0) }
    }

    fn place(&self, migration: &MigrationId, part: Part) -> PathBuf {
        self.directory.join(migration.as_str()).join(part.to_string())
    }

    async fn store(&self, job: &TransferJob, mut body: ByteStream) -> Result<Receipt> {
        if job.archive_bytes > BYTES_MAX {
            return Err(Error::fatal(ErrorKind::LimitExceeded, format!("at most {BYTES_MAX} bytes fit through here")));
        }
        let mut content = Vec::new();
        while let Some(piece) = body.next().await {
            content.extend_from_slice(&piece?);
            if content.len() as u64 > job.archive_bytes {
                return Err(Error::undo(ErrorKind::Corrupt, "the checkpoint is longer than announced"));
            }
        }
        if (content.len() as u64) < job.archive_bytes {
            return Err(Error::undo(ErrorKind::Corrupt, "the checkpoint is shorter than announced"));
        }
        // Visible at once and whole, or not at all.
        let place = self.place(&job.migration, job.part);
        let unfinished = place.with_extension(format!("{}.unfinished", self.calls.fetch_add(1, Ordering::Relaxed)));
        tokio::fs::create_dir_all(self.directory.join(job.migration.as_str())).await.map_err(failed)?;
        tokio::fs::write(&unfinished, &content).await.map_err(failed)?;
        tokio::fs::rename(&unfinished, &place).await.map_err(failed)?;
        Ok(Receipt {
            migration: job.migration.clone(),
            part: job.part,
            digest: Digest::of(&content),
            archive_bytes: job.archive_bytes,
            transferred_bytes: job.archive_bytes,
            location: place.display().to_string(),
        })
    }
}

/// File errors may go away.
pub(crate) fn failed(error: io::Error) -> Error {
    Error::retry(ErrorKind::Unavailable, "the transfer directory does not work").caused_by(error)
}

#[async_trait]
impl TransferBackend for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: Some(BYTES_MAX) }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let late = |_| Error::retry(ErrorKind::Timeout, "the checkpoint did not arrive in time").with("migration", &job.migration);
        timeout(job.deadline, self.store(job, body)).await.map_err(late)?
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let content = match tokio::fs::read(self.place(&receipt.migration, receipt.part)).await {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(
                    Error::undo(ErrorKind::NotFound, "nothing has arrived for this migration").with("migration", &receipt.migration)
                );
            }
            Err(error) => return Err(failed(error)),
        };
        if Digest::of(&content) != receipt.digest {
            return Err(Error::undo(ErrorKind::Corrupt, "what has arrived is not what was sent").with("file", &receipt.location));
        }
        let from = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(content.len());
        let rest = Bytes::from(content).slice(from..);
        let pieces: Vec<_> = (0..rest.len()).step_by(PIECE_BYTES).map(|at| rest.slice(at..rest.len().min(at + PIECE_BYTES))).collect();
        Ok(Box::pin(stream::iter(pieces.into_iter().map(Ok))))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        match tokio::fs::remove_dir_all(self.directory.join(migration.as_str())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ms2m_testkit::conformance;

    #[tokio::test]
    async fn the_folder_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Arc::new(super::Folder::new(directory.path()));
        conformance::transfer(async || Arc::clone(&folder)).await;
    }
}
