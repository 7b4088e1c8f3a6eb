//! [`SnapshotSink`]: where a parked consumer puts its snapshot.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// A snapshot, and what it was taken for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshotted {
    /// The migration.
    pub migration: MigrationId,
    /// The encoded [`Snapshot`](crate::Snapshot).
    pub bytes: Bytes,
    /// How long the consumer stood still to make it.
    pub freeze: Duration,
}

/// Takes snapshots, one per migration.
#[async_trait]
pub trait SnapshotSink: fmt::Debug + Send + 'static {
    /// Puts the snapshot where the checkpoint is read from. `Ok`: it is whole and visible there. The controller hears that the
    /// consumer is parked only after that.
    ///
    /// # Errors
    /// Then the consumer aborts the migration and works on.
    async fn put(&mut self, snapshot: Snapshotted) -> Result<()>;
}

/// Into a channel.
#[derive(Clone, Debug)]
pub struct ChannelSnapshots(mpsc::Sender<Snapshotted>);

impl ChannelSnapshots {
    /// A sink, and where its snapshots come out. At most `capacity` wait there.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Snapshotted>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }
}

#[async_trait]
impl SnapshotSink for ChannelSnapshots {
    async fn put(&mut self, snapshot: Snapshotted) -> Result<()> {
        let gone = |_| Error::undo(ErrorKind::Unavailable, "nobody takes this consumer's snapshots any more");
        self.0.send(snapshot).await.map_err(gone)
    }
}

/// Into files `<directory>/<migration>.snapshot`, which appear at once and whole.
///
/// A file has a mark (8 bytes), the time the consumer stood still (microseconds, 8 bytes, big endian), then the snapshot.
#[derive(Clone, Debug)]
pub struct DirectorySnapshots(PathBuf);

const FILE_MAGIC: &[u8; 8] = b"ms2msnp1";
const FILE_HEADER_BYTES: usize = 16;

impl DirectorySnapshots {
    /// Into this directory, which must exist.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The snapshot in a file that such a sink has written.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it cannot be read, [`ErrorKind::Corrupt`] when it is no such file.
    pub fn read(path: &Path) -> Result<Bytes> {
        let unreadable =
            |error| Error::retry(ErrorKind::Unavailable, "the snapshot cannot be read").with("file", path.display()).caused_by(error);
        let content = Bytes::from(std::fs::read(path).map_err(unreadable)?);
        if content.len() < FILE_HEADER_BYTES || !content.starts_with(FILE_MAGIC) {
            return Err(Error::undo(ErrorKind::Corrupt, "this is no snapshot file").with("file", path.display()));
        }
        Ok(content.slice(FILE_HEADER_BYTES..))
    }
}

/// Written beside its place and renamed. Not synced: the consumer that wrote it lives on, and after a crash of its node the
/// migration fails anyway.
fn write(directory: &Path, snapshot: &Snapshotted) -> std::io::Result<()> {
    let place = directory.join(format!("{}.snapshot", snapshot.migration));
    let unfinished = directory.join(format!("{}.snapshot.{}", snapshot.migration, std::process::id()));
    let freeze_us = u64::try_from(snapshot.freeze.as_micros()).unwrap_or(u64::MAX);
    let content = [&FILE_MAGIC[..], &freeze_us.to_be_bytes(), &snapshot.bytes].concat();
    std::fs::write(&unfinished, content).and_then(|()| std::fs::rename(&unfinished, place)).inspect_err(|_| {
        // Of a full disk: what is there of it helps nobody.
        let _ = std::fs::remove_file(&unfinished);
    })
}

#[async_trait]
impl SnapshotSink for DirectorySnapshots {
    async fn put(&mut self, snapshot: Snapshotted) -> Result<()> {
        let directory = self.0.clone();
        let failed = || Error::undo(ErrorKind::Unavailable, "the snapshot cannot be written").with("directory", self.0.display());
        match spawn_blocking(move || write(&directory, &snapshot)).await {
            Ok(written) => written.map_err(|error| failed().caused_by(error)),
            Err(error) => Err(failed().caused_by(error)),
        }
    }
}
