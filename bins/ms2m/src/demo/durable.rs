//! Snapshots that can be read again by a driver that was not there when they were taken.

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, ErrorKind, MigrationId, Result, SourceStatus,
};
use ms2m_testkit::snapshot::{SnapshotOrigin, SnapshotSource};

use super::limits::{READ_AGAIN, SNAPSHOT_BYTES_MAX};

/// A [`SnapshotSource`] whose origin keeps snapshots until they are forgotten. After a crash of the driver the migration goes on
/// from them, and after a crash of the consumer they are all there is of its state.
#[derive(Debug)]
pub(crate) struct DurableSnapshots(SnapshotSource);

impl DurableSnapshots {
    pub(crate) fn new(origin: Arc<dyn SnapshotOrigin>) -> Self {
        Self(SnapshotSource::new(origin, SNAPSHOT_BYTES_MAX))
    }
}

#[async_trait]
impl CheckpointSource for DurableSnapshots {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capability(&self) -> CheckpointCapability {
        self.0.capability()
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.0.status().await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.0.checkpoint(job).await
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        match self.0.open(checkpoint, offset_bytes).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let job =
                    CheckpointJob { migration: checkpoint.migration.clone(), parent: None, leave_running: true, deadline: READ_AGAIN };
                self.0.checkpoint(&job).await?;
                self.0.open(checkpoint, offset_bytes).await
            }
            opened => opened,
        }
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        self.0.retire(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.0.discard(migration).await
    }
}
