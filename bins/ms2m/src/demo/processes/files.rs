//! State and checkpoints in files, so that another driver can go on.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::{
    ByteStream, Digest, Error, ErrorKind, MigrationId, MigrationState, Part, Receipt, Result, StateStore, TransferBackend,
    TransferCapability, TransferJob,
};
use ms2m_testkit::MemoryTransfer;
use ms2m_testkit::memory_transfer::pieces;
use tokio::task::spawn_blocking;

use crate::demo::diary::{read_json, write_json};
use crate::demo::limits::SNAPSHOT_BYTES_MAX;

/// Keeps each migration's state in a file.
#[derive(Clone, Debug)]
pub(super) struct FileStore(pub(super) PathBuf);

impl FileStore {
    fn file(&self, migration: &MigrationId) -> PathBuf {
        self.0.join(format!("{migration}.json"))
    }
}

#[async_trait]
impl StateStore for FileStore {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        let (path, state) = (self.file(&state.spec().migration), state.clone());
        blocking(move || write_json(&path, &state)).await
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        let path = self.file(migration);
        blocking(move || read_json(&path)).await
    }

    async fn remove(&self, migration: &MigrationId) -> Result<()> {
        remove(self.file(migration)).await
    }
}

/// Moves checkpoints into a directory, as a volume that two nodes share would.
#[derive(Debug)]
pub(super) struct FileTransfer(pub(super) PathBuf);

impl FileTransfer {
    fn file(&self, migration: &MigrationId, part: Part) -> PathBuf {
        self.0.join(migration.as_str()).join(part.to_string())
    }
}

#[async_trait]
impl TransferBackend for FileTransfer {
    fn name(&self) -> &'static str {
        "file"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: Some(SNAPSHOT_BYTES_MAX) }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        // Snapshots of a demo are small: collected and checked in memory, then written as a whole.
        let memory = MemoryTransfer::new(SNAPSHOT_BYTES_MAX);
        let receipt = memory.send(job, body).await?;
        let path = self.file(&job.migration, job.part);
        let unfinished = path.with_extension("unfinished");
        let mut content = Vec::with_capacity(usize::try_from(receipt.archive_bytes).unwrap_or_default());
        let mut arrived = memory.open(&receipt, 0).await?;
        while let Some(piece) = next(&mut arrived).await {
            content.extend_from_slice(&piece?);
        }
        let location = path.display().to_string();
        let write = move || {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&unfinished, content)?;
            std::fs::rename(&unfinished, path)
        };
        blocking(move || write().map_err(failed)).await?;
        Ok(Receipt { location, ..receipt })
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let content = Bytes::from(tokio::fs::read(self.file(&receipt.migration, receipt.part)).await.map_err(failed)?);
        if Digest::of(&content) != receipt.digest {
            return Err(Error::undo(ErrorKind::Corrupt, "the transferred checkpoint has changed").with("digest", receipt.digest));
        }
        let offset = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(content.len());
        Ok(pieces(content.slice(offset..)))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        match tokio::fs::remove_dir_all(self.0.join(migration.as_str())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

async fn next(stream: &mut ByteStream) -> Option<Result<Bytes>> {
    std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

async fn remove(path: PathBuf) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::fatal(ErrorKind::Other, "a file operation has crashed").caused_by(error)))
}

fn failed(error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Unavailable };
    Error::retry(kind, "a file of the demo's state cannot be read or written").caused_by(error)
}
