//! Latency before every call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, MigrationId, PreDump, Receipt, RestoreJob,
    RestoreTarget, Restored, Result, SourceStatus, TransferBackend, TransferCapability, TransferJob,
};
use tokio::time::sleep;

/// Waits before every call.
#[derive(Debug)]
pub struct Delayed<T: ?Sized> {
    inner: Arc<T>,
    latency: Duration,
}

impl<T: ?Sized> Delayed<T> {
    /// Waits `latency` before every call of `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>, latency: Duration) -> Self {
        Self { inner, latency }
    }
}

#[async_trait]
impl<T: TransferBackend + ?Sized> TransferBackend for Delayed<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> TransferCapability {
        self.inner.capability()
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        sleep(self.latency).await;
        self.inner.send(job, body).await
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        sleep(self.latency).await;
        self.inner.open(receipt, offset_bytes).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        sleep(self.latency).await;
        self.inner.discard(migration).await
    }
}

#[async_trait]
impl<T: CheckpointSource + ?Sized> CheckpointSource for Delayed<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> CheckpointCapability {
        self.inner.capability()
    }

    async fn status(&self) -> Result<SourceStatus> {
        sleep(self.latency).await;
        self.inner.status().await
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        sleep(self.latency).await;
        self.inner.pre_dump(job, round).await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        sleep(self.latency).await;
        self.inner.checkpoint(job).await
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        sleep(self.latency).await;
        self.inner.open(checkpoint, offset_bytes).await
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        sleep(self.latency).await;
        self.inner.retire(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        sleep(self.latency).await;
        self.inner.discard(migration).await
    }
}

#[async_trait]
impl<T: RestoreTarget + ?Sized> RestoreTarget for Delayed<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        sleep(self.latency).await;
        self.inner.prepare(job).await
    }

    async fn await_ready(&self, job: &RestoreJob) -> Result<()> {
        sleep(self.latency).await;
        self.inner.await_ready(job).await
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        sleep(self.latency).await;
        self.inner.stage(job, receipt, transfer).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        sleep(self.latency).await;
        self.inner.restore(job, receipts, transfer).await
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        sleep(self.latency).await;
        self.inner.status(migration).await
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        sleep(self.latency).await;
        self.inner.promote(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        sleep(self.latency).await;
        self.inner.discard(migration).await
    }
}
