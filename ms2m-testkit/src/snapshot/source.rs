//! [`CheckpointSource`] over a consumer's own snapshots.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, Part, Result,
    SourceStatus,
};
use tokio::time::timeout;

use crate::memory_transfer::pieces;

/// A consumer's state as it wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The state.
    pub bytes: Bytes,
    /// How long the consumer stood still to write it, by its own clock.
    pub freeze: Duration,
}

/// Where snapshots of one consumer come from.
#[async_trait]
pub trait SnapshotOrigin: fmt::Debug + Send + Sync + 'static {
    /// The state at the safe point at which the consumer is parked for this migration. The caller limits the time.
    ///
    /// # Errors
    /// When there is none to be had; the consumer goes on as before.
    async fn snapshot(&self, migration: &MigrationId) -> Result<Snapshot>;

    /// Whether the consumer is still there; [`SourceStatus::Gone`] only when that is certain.
    ///
    /// # Errors
    /// When it cannot be found out now.
    async fn status(&self) -> Result<SourceStatus>;

    /// Ends the consumer for good. Ended already is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that it has ended.
    async fn end(&self, migration: &MigrationId) -> Result<()>;

    /// Removes what [`snapshot`](Self::snapshot) may have left behind. Nothing is `Ok`.
    ///
    /// # Errors
    /// When something may be left over.
    async fn forget(&self, _migration: &MigrationId) -> Result<()> {
        Ok(())
    }
}

/// Keeps the snapshots of one consumer until they are discarded.
#[derive(Debug)]
pub struct SnapshotSource {
    origin: Arc<dyn SnapshotOrigin>,
    snapshot_bytes_max: u64,
    taken: Mutex<HashMap<MigrationId, Bytes>>,
}

impl SnapshotSource {
    /// Takes snapshots of at most `snapshot_bytes_max` bytes from `origin`.
    #[must_use]
    pub fn new(origin: Arc<dyn SnapshotOrigin>, snapshot_bytes_max: u64) -> Self {
        Self { origin, snapshot_bytes_max, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<MigrationId, Bytes>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckpointSource for SnapshotSource {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.origin.status().await
    }

    // Whether the consumer runs on is up to the broker's protocol: it is parked now, and stays so unless told otherwise.
    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        let snapshot = timeout(job.deadline, self.origin.snapshot(&job.migration)).await.map_err(|_| {
            Error::retry(ErrorKind::Timeout, "the consumer has not written its snapshot in time; is it parked?")
                .with("migration", &job.migration)
        })??;
        let archive_bytes = snapshot.bytes.len() as u64;
        if archive_bytes > self.snapshot_bytes_max {
            let text = format!("a snapshot of {archive_bytes} bytes is larger than the limit of {}", self.snapshot_bytes_max);
            return Err(Error::fatal(ErrorKind::LimitExceeded, text).with("migration", &job.migration));
        }
        self.taken().insert(job.migration.clone(), snapshot.bytes);
        let manifest = BTreeMap::from([("engine".to_owned(), "snapshot".to_owned())]);
        let (migration, freeze) = (job.migration.clone(), snapshot.freeze);
        Ok(Checkpoint { migration, part: Part::Final, parent: None, archive_bytes, freeze, manifest })
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        let taken = self.taken().get(&checkpoint.migration).filter(|_| checkpoint.part == Part::Final).cloned();
        let bytes = taken.ok_or_else(|| Error::fatal(ErrorKind::NotFound, "no such snapshot").with("migration", &checkpoint.migration))?;
        let offset = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(bytes.len());
        Ok(pieces(bytes.slice(offset..)))
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        self.origin.end(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.taken().remove(migration);
        self.origin.forget(migration).await
    }
}
