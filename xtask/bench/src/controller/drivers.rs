//! Agents and a broker that only take their time, about what the real ones take for 27 MB. The pods around them are real.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kube::Client;
use ms2m_core::{
    Begun, ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, CutOver, Digest, Drivers,
    HandOverJob, HandoverMode, MigrationId, Ownership, Parked, Part, Protocol, Receipt, ReplayBroker, ReplayJob, ReplayProgress,
    ReplayStanding, RestoreJob, RestoreTarget, Restored, Result, Retired, SourceStatus, TransferBackend, TransferCapability, TransferJob,
};
use ms2m_k8s::{DriverFactory, KubeSource, KubeTarget, NodeTargets, Placed, Plan};
use tokio::time::sleep;

const CHECKPOINT: Duration = Duration::from_millis(170);
const TRANSFER: Duration = Duration::from_millis(250);
const RESTORE: Duration = Duration::from_millis(150);
const CALL: Duration = Duration::from_millis(5);
const BYTES: u64 = 30_000_000;

/// Gives drivers around real pods.
pub(super) struct Simulated {
    client: Client,
    /// Whose copy owns the queue.
    moved: Arc<Mutex<BTreeSet<MigrationId>>>,
}

impl Simulated {
    pub(super) fn new(client: Client) -> Self {
        Self { client, moved: Arc::default() }
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

#[async_trait]
impl DriverFactory for Simulated {
    async fn drivers(&self, plan: &Plan) -> Result<Drivers> {
        Ok(Drivers {
            source: Arc::new(KubeSource::new(&self.client, plan, Arc::new(Agent))),
            transfer: Arc::new(Agent),
            target: Arc::new(KubeTarget::new(&self.client, plan, Arc::new(Agent))),
            broker: Arc::new(Broker(Arc::clone(&self.moved))),
        })
    }
}

#[derive(Debug)]
struct Agent;

#[async_trait]
impl NodeTargets for Agent {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn target(&self, _: &Placed) -> Result<Arc<dyn RestoreTarget>> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl CheckpointSource for Agent {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        sleep(CALL).await;
        Ok(SourceStatus::Present)
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        sleep(CHECKPOINT).await;
        let (migration, manifest) = (job.migration.clone(), Default::default());
        Ok(Checkpoint { migration, part: Part::Final, parent: None, archive_bytes: BYTES, freeze: CHECKPOINT, manifest })
    }

    async fn open(&self, _: &Checkpoint, _: u64) -> Result<ByteStream> {
        // The bytes go from node to node.
        Ok(Box::pin(futures_util::stream::empty()))
    }

    async fn retire(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }
}

#[async_trait]
impl TransferBackend for Agent {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: true, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, _: ByteStream) -> Result<Receipt> {
        sleep(TRANSFER).await;
        let (migration, location) = (job.migration.clone(), "nowhere".to_owned());
        Ok(Receipt { migration, part: job.part, digest: digest(), archive_bytes: BYTES, transferred_bytes: BYTES, location })
    }

    async fn open(&self, _: &Receipt, _: u64) -> Result<ByteStream> {
        Ok(Box::pin(futures_util::stream::empty()))
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }
}

#[async_trait]
impl RestoreTarget for Agent {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn prepare(&self, _: &RestoreJob) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, _: &[Receipt], _: Arc<dyn TransferBackend>) -> Result<Restored> {
        sleep(RESTORE).await;
        Ok(Restored { copy: job.copy.clone(), restore: RESTORE })
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        sleep(CALL).await;
        Ok(CopyStatus::Present)
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }
}

#[derive(Debug)]
struct Broker(Arc<Mutex<BTreeSet<MigrationId>>>);

impl Broker {
    fn moved(&self, migration: &MigrationId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(migration)
    }
}

fn digest() -> Digest {
    Digest::from_bytes([7; 32])
}

fn cut() -> CutOver {
    CutOver { n: 7, digest_source: Some(digest()), digest_copy: Some(digest()), ..CutOver::default() }
}

#[async_trait]
impl ReplayBroker for Broker {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn begin(&self, _: &ReplayJob) -> Result<Begun> {
        sleep(CALL).await;
        Ok(Begun { protocol: Protocol::Journal, mode: HandoverMode::Chase, applied: 5 })
    }

    async fn park(&self, _: &MigrationId) -> Result<Parked> {
        sleep(CALL).await;
        Ok(Parked { n: 6, digest: digest() })
    }

    async fn resume(&self, _: &MigrationId) -> Result<()> {
        sleep(CALL).await;
        Ok(())
    }

    async fn progress(&self, migration: &MigrationId) -> Result<ReplayProgress> {
        sleep(CALL).await;
        let standing = if self.moved(migration) { ReplayStanding::CopyOwns } else { ReplayStanding::Ready };
        Ok(ReplayProgress { source_n: 7, copy_n: 6, standing })
    }

    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership> {
        sleep(CALL).await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job.migration.clone());
        Ok(Ownership::Copy(cut()))
    }

    async fn abort(&self, migration: &MigrationId, _: &str) -> Result<Ownership> {
        sleep(CALL).await;
        let copy = self.moved(migration);
        Ok(if copy { Ownership::Copy(cut()) } else { Ownership::Source { reason: "aborted".into() } })
    }

    async fn retire(&self, migration: &MigrationId, _: bool) -> Result<Retired> {
        sleep(CALL).await;
        let cut_over = self.moved(migration).then(cut);
        Ok(Retired { applied_by_source: 7, journaled: 1, replayed: 1, applied_by_target: 1, cut_over })
    }
}
