//! [`RestoreTarget`] for consumers that start from their own snapshots.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use ms2m_core::{CopyStatus, Error, ErrorKind, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Starts and ends copies.
#[async_trait]
pub trait SnapshotHost: fmt::Debug + Send + Sync + 'static {
    /// Starts a copy with this state, parked.
    ///
    /// # Errors
    /// Then nothing of it runs.
    async fn start(&self, job: &RestoreJob, state: Bytes) -> Result<()>;

    /// Whether the copy is there; [`CopyStatus::Gone`] only when no process of it is left, certainly.
    ///
    /// # Errors
    /// When it cannot be found out now.
    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus>;

    /// Ends the copy. Missing is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that it has ended.
    async fn end(&self, migration: &MigrationId) -> Result<()>;

    /// The copy is the owner's own instance from now on.
    ///
    /// # Errors
    /// It is called again until it succeeds.
    async fn promote(&self, _migration: &MigrationId) -> Result<()> {
        Ok(())
    }
}

/// Makes copies on one host.
#[derive(Debug)]
pub struct SnapshotTarget {
    name: &'static str,
    host: Arc<dyn SnapshotHost>,
    snapshot_bytes_max: u64,
    // Held across a restore, so that a repeated call waits for the first one's answer.
    alive: Mutex<HashMap<MigrationId, Restored>>,
}

impl SnapshotTarget {
    /// Copies on `host` under a driver's name such as `memory` or `process`, from snapshots of at most `snapshot_bytes_max` bytes.
    #[must_use]
    pub fn new(name: &'static str, host: Arc<dyn SnapshotHost>, snapshot_bytes_max: u64) -> Self {
        Self { name, host, snapshot_bytes_max, alive: Mutex::default() }
    }

    async fn start(&self, job: &RestoreJob, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<()> {
        let state = self.fetch(receipt, transfer).await?;
        self.host.start(job, state).await
    }

    async fn fetch(&self, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<Bytes> {
        if receipt.archive_bytes > self.snapshot_bytes_max {
            let text = format!("a snapshot of {} bytes is larger than the limit of {}", receipt.archive_bytes, self.snapshot_bytes_max);
            return Err(Error::fatal(ErrorKind::LimitExceeded, text));
        }
        let mut stream = transfer.open(receipt, 0).await?;
        let mut state = BytesMut::new();
        while let Some(piece) = stream.next().await {
            state.extend_from_slice(&piece?);
            if state.len() as u64 > receipt.archive_bytes {
                break;
            }
        }
        if state.len() as u64 != receipt.archive_bytes || !receipt.digest.is_of(&state) {
            return Err(Error::undo(ErrorKind::Corrupt, "what has arrived is not what was sent").with("digest", receipt.digest));
        }
        Ok(state.freeze())
    }
}

#[async_trait]
impl RestoreTarget for SnapshotTarget {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn prepare(&self, _: &RestoreJob) -> Result<()> {
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let [receipt] = receipts else {
            let text = format!("a snapshot comes as one part, not as {}: it was taken by another driver", receipts.len());
            return Err(Error::fatal(ErrorKind::Invalid, text).with("migration", &job.migration));
        };
        let mut alive = self.alive.lock().await;
        if let Some(restored) = alive.get(&job.migration) {
            return Ok(restored.clone());
        }
        let begun = Instant::now();
        let started = timeout(job.deadline, self.start(job, receipt, &*transfer)).await;
        let started = started.unwrap_or_else(|_| Err(Error::retry(ErrorKind::Timeout, "the copy was not started in time")));
        if let Err(error) = started {
            // A start cut off by the deadline may have left something.
            self.host.end(&job.migration).await?;
            return Err(error.with("migration", &job.migration));
        }
        let restored = Restored { copy: job.copy.clone(), restore: begun.elapsed() };
        alive.insert(job.migration.clone(), restored.clone());
        Ok(restored)
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        self.host.status(migration).await
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        self.host.promote(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        // Kept until it is certain, so that a repeated restore cannot start a second copy beside a first one.
        let mut alive = self.alive.lock().await;
        self.host.end(migration).await?;
        alive.remove(migration);
        Ok(())
    }
}
