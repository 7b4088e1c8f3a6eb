//! The drivers of one node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, Digest, Error, ErrorKind, MigrationId, Part,
    Receipt, RestoreJob, RestoreTarget, Restored, Result, SourceStatus, TransferBackend,
};
use ms2m_remote::{Node, Restores, SourcePlace, TargetPlace, Way};
use ms2m_transfer_direct::{Agent, Credentials, DirectTransfer};

pub(crate) const ARCHIVE_BYTES: usize = 3_000_000;

#[derive(Debug)]
pub(crate) struct TestNode {
    agent: Agent,
    live: PathBuf,
    credentials: Credentials,
    drivers: Arc<Drivers>,
}

#[derive(Debug, Default)]
struct Drivers {
    retired: Mutex<bool>,
    restored: Mutex<Vec<Digest>>,
}

impl TestNode {
    pub(crate) fn new(agent: Agent, live: PathBuf, credentials: Credentials) -> Self {
        Self { agent, live, credentials, drivers: Arc::default() }
    }

    pub(crate) fn restored(&self) -> Vec<Digest> {
        self.drivers.restored.lock().unwrap().clone()
    }
}

#[async_trait]
impl Node for TestNode {
    async fn source(&self, _: &SourcePlace) -> Result<Arc<dyn CheckpointSource>> {
        Ok(Arc::clone(&self.drivers) as _)
    }

    async fn target(&self, _: &TargetPlace) -> Result<Arc<dyn RestoreTarget>> {
        Ok(Arc::clone(&self.drivers) as _)
    }

    async fn restores(&self) -> Result<Restores> {
        Ok(Restores { runtime: true, image: false })
    }

    async fn way(&self, way: &Way) -> Result<Arc<dyn TransferBackend>> {
        match way {
            Way::Direct { url, node, .. } => Ok(Arc::new(DirectTransfer::to_node(url, node, self.credentials.clone())?)),
            other => Err(Error::fatal(ErrorKind::Unsupported, format!("{other:?}"))),
        }
    }

    async fn arrived(&self, _: &Way) -> Result<Arc<dyn TransferBackend>> {
        Ok(Arc::new(self.agent.here()))
    }

    async fn recipient(&self) -> Result<String> {
        Ok("age1test".to_owned())
    }

    async fn expect(&self, place: &TargetPlace) -> Result<()> {
        let (migration, peer) = (&place.migration, &place.from_node);
        let text = format!(r#"{{"operators": ["controller"], "migrations": [{{"migration": "{migration}", "peers": ["{peer}"]}}]}}"#);
        std::fs::write(&self.live, text).unwrap();
        Ok(())
    }

    async fn source_done(&self, _: &MigrationId) {}

    async fn target_done(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl CheckpointSource for Drivers {
    fn name(&self) -> &'static str {
        "runtime"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        Ok(if *self.retired.lock().unwrap() { SourceStatus::Gone } else { SourceStatus::Present })
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        if job.parent.is_some() {
            return Err(Error::undo(ErrorKind::Unsupported, "no parent here"));
        }
        Ok(Checkpoint {
            migration: job.migration.clone(),
            part: Part::Final,
            parent: None,
            archive_bytes: ARCHIVE_BYTES as u64,
            freeze: Duration::from_millis(1),
            manifest: BTreeMap::new(),
        })
    }

    async fn open(&self, _: &Checkpoint, _: u64) -> Result<ByteStream> {
        let pieces = (0..ARCHIVE_BYTES / 1000).map(|at| Ok(vec![at as u8; 1000].into()));
        Ok(Box::pin(stream::iter(pieces)))
    }

    async fn retire(&self, _: &MigrationId) -> Result<()> {
        *self.retired.lock().unwrap() = true;
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl RestoreTarget for Drivers {
    fn name(&self) -> &'static str {
        "runtime"
    }

    async fn prepare(&self, _: &RestoreJob) -> Result<()> {
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let mut body = transfer.open(&receipts[0], 0).await?;
        let mut digest = receipts[0].digest.algorithm().hasher();
        while let Some(piece) = body.next().await {
            digest.update(&piece?);
        }
        self.restored.lock().unwrap().push(digest.finalize());
        Ok(Restored { copy: job.copy.clone(), restore: Duration::from_millis(1) })
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        Ok(if self.restored.lock().unwrap().is_empty() { CopyStatus::Gone } else { CopyStatus::Present })
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }
}
