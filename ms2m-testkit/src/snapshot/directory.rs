//! Snapshots of a consumer that is another process: it writes them to a directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use ms2m_core::{Error, ErrorKind, MigrationId, Result, SourceStatus};
use tokio::process::Child;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::source::{Snapshot, SnapshotOrigin};

/// First bytes of a snapshot file. Then the freeze time in microseconds (8 bytes, big endian), then the state.
const MAGIC: &[u8; 8] = b"ms2msnp1";
const HEADER_BYTES: usize = 16;
const POLL_FIRST: Duration = Duration::from_millis(1);
const POLL_MAX: Duration = Duration::from_millis(20);

/// The process whose snapshots they are.
#[async_trait]
pub trait SourceProcess: fmt::Debug + Send + Sync + 'static {
    /// Whether it is still there.
    ///
    /// # Errors
    /// When it cannot be found out now.
    async fn status(&self) -> Result<SourceStatus>;

    /// Ends it and waits until it has ended. Ended already is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that it has ended.
    async fn end(&self) -> Result<()>;
}

/// A [`SourceProcess`] that is a child of this one.
#[derive(Debug)]
pub struct ChildProcess(Mutex<Child>);

impl ChildProcess {
    /// Takes the child over.
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(Mutex::new(child))
    }
}

#[async_trait]
impl SourceProcess for ChildProcess {
    async fn status(&self) -> Result<SourceStatus> {
        let exited = self.0.lock().await.try_wait();
        let exited = exited.map_err(|error| Error::retry(ErrorKind::Unavailable, "cannot look at the source process").caused_by(error))?;
        Ok(if exited.is_some() { SourceStatus::Gone } else { SourceStatus::Present })
    }

    async fn end(&self) -> Result<()> {
        let ended = self.0.lock().await.kill().await;
        ended.map_err(|error| Error::retry(ErrorKind::Unavailable, "cannot end the source process").caused_by(error))
    }
}

/// Writes a snapshot so that it appears at once and whole. For the consumer's side; blocks.
///
/// # Errors
/// Those of the file system.
pub fn write_snapshot(directory: &Path, migration: &MigrationId, freeze: Duration, state: &[u8]) -> io::Result<()> {
    let freeze_us = u64::try_from(freeze.as_micros()).unwrap_or(u64::MAX);
    let unfinished = directory.join(format!("{migration}.snapshot.{}", std::process::id()));
    std::fs::write(&unfinished, [&MAGIC[..], &freeze_us.to_be_bytes(), state].concat())?;
    std::fs::rename(unfinished, file_of(directory, migration))
}

fn file_of(directory: &Path, migration: &MigrationId) -> PathBuf {
    directory.join(format!("{migration}.snapshot"))
}

/// Reads what a consumer process writes to `<directory>/<migration>.snapshot` when it parks.
#[derive(Debug)]
pub struct DirectoryOrigin {
    directory: PathBuf,
    snapshot_bytes_max: u64,
    process: Box<dyn SourceProcess>,
}

impl DirectoryOrigin {
    /// Snapshots of `process` in `directory`, of at most `snapshot_bytes_max` bytes.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, snapshot_bytes_max: u64, process: Box<dyn SourceProcess>) -> Self {
        Self { directory: directory.into(), snapshot_bytes_max, process }
    }

    async fn read(&self, path: &Path, file_bytes: u64) -> Result<Snapshot> {
        let limit = self.snapshot_bytes_max.saturating_add(HEADER_BYTES as u64);
        if file_bytes > limit {
            return Err(Error::fatal(ErrorKind::LimitExceeded, format!("a snapshot file of {file_bytes} bytes is larger than {limit}")));
        }
        let content = tokio::fs::read(path).await;
        let mut content =
            Bytes::from(content.map_err(|error| Error::retry(ErrorKind::Unavailable, "cannot read a snapshot").caused_by(error))?);
        if content.len() < HEADER_BYTES || !content.starts_with(MAGIC) {
            return Err(Error::undo(ErrorKind::Corrupt, "this is no snapshot file; was it written by another version?"));
        }
        content.advance(MAGIC.len());
        let freeze = Duration::from_micros(content.get_u64());
        Ok(Snapshot { bytes: content, freeze })
    }
}

#[async_trait]
impl SnapshotOrigin for DirectoryOrigin {
    async fn snapshot(&self, migration: &MigrationId) -> Result<Snapshot> {
        let path = file_of(&self.directory, migration);
        let mut pause = POLL_FIRST;
        loop {
            match tokio::fs::metadata(&path).await {
                Ok(found) => return self.read(&path, found.len()).await.map_err(|error| error.with("migration", migration)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::retry(ErrorKind::Unavailable, "cannot look for a snapshot").caused_by(error)),
            }
            if self.process.status().await? == SourceStatus::Gone {
                return Err(Error::undo(ErrorKind::NotFound, "the consumer has ended without a snapshot").with("migration", migration));
            }
            sleep(pause).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.process.status().await
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.process.end().await
    }

    async fn forget(&self, migration: &MigrationId) -> Result<()> {
        match tokio::fs::remove_file(file_of(&self.directory, migration)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::retry(ErrorKind::Unavailable, "cannot remove a snapshot").with("migration", migration).caused_by(error))
            }
            _ => Ok(()),
        }
    }
}
