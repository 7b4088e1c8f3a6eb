//! A limit on throughput.

use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, MigrationId, PreDump, Receipt, RestoreJob,
    RestoreTarget, Restored, Result, SourceStatus, TransferBackend, TransferCapability, TransferJob, paced,
};

/// Lets so many bytes per second pass, on each stream.
#[derive(Debug)]
pub struct Throttled<T: ?Sized> {
    inner: Arc<T>,
    bytes_per_s: NonZeroU64,
}

impl<T: ?Sized> Throttled<T> {
    /// Every stream through `inner` passes at most `bytes_per_s` (at least 1).
    #[must_use]
    pub fn new(inner: Arc<T>, bytes_per_s: u64) -> Self {
        Self { inner, bytes_per_s: NonZeroU64::new(bytes_per_s).unwrap_or(NonZeroU64::MIN) }
    }

    fn throttle(&self, stream: ByteStream) -> ByteStream {
        paced(stream, self.bytes_per_s)
    }
}

#[async_trait]
impl<T: TransferBackend + ?Sized> TransferBackend for Throttled<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> TransferCapability {
        self.inner.capability()
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        self.inner.send(job, self.throttle(body)).await
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        Ok(self.throttle(self.inner.open(receipt, offset_bytes).await?))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.inner.discard(migration).await
    }
}

#[async_trait]
impl<T: CheckpointSource + ?Sized> CheckpointSource for Throttled<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> CheckpointCapability {
        self.inner.capability()
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.inner.status().await
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        self.inner.pre_dump(job, round).await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.inner.checkpoint(job).await
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        Ok(self.throttle(self.inner.open(checkpoint, offset_bytes).await?))
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        self.inner.retire(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.inner.discard(migration).await
    }
}

#[async_trait]
impl<T: RestoreTarget + ?Sized> RestoreTarget for Throttled<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        self.inner.prepare(job).await
    }

    async fn await_ready(&self, job: &RestoreJob) -> Result<()> {
        self.inner.await_ready(job).await
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        let slow: Arc<dyn TransferBackend> = Arc::new(Throttled::new(transfer, self.bytes_per_s.get()));
        self.inner.stage(job, receipt, slow).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let slow: Arc<dyn TransferBackend> = Arc::new(Throttled::new(transfer, self.bytes_per_s.get()));
        self.inner.restore(job, receipts, slow).await
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        self.inner.status(migration).await
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        self.inner.promote(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.inner.discard(migration).await
    }
}
