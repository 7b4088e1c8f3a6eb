//! Drivers that pretend, around real pods.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kube::Client;
use ms2m_core::{
    Begun, CutOver, Digest, Drivers, Error, ErrorKind, HandOverJob, HandoverMode, MigrationId, Ownership, Parked, Protocol, ReplayBroker,
    ReplayJob, ReplayProgress, ReplayStanding, Result, Retired,
};
use ms2m_k8s::{DriverFactory, KubeSource, KubeTarget, Plan};
use ms2m_testkit::MemoryTransfer;

use crate::world::{Asked, Nodes, SourceAgent, pods};

/// What the test lets happen.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The copy does not catch up until this is taken back.
    pub(crate) behind: AtomicBool,
    /// No node can be reached until this is taken back.
    pub(crate) cut_off: AtomicBool,
    /// Whose queue it is, for every migration that has come so far.
    pub(crate) owner: Mutex<Vec<(MigrationId, bool)>>,
    pub(crate) asked: Arc<Asked>,
}

#[derive(Clone)]
pub(crate) struct Factory {
    pub(crate) client: Client,
    pub(crate) script: Arc<Script>,
}

impl std::fmt::Debug for Factory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Factory")
    }
}

#[async_trait]
impl DriverFactory for Factory {
    async fn drivers(&self, plan: &Plan) -> Result<Drivers> {
        self.script.asked.note("drivers");
        if self.script.cut_off.load(Ordering::SeqCst) {
            return Err(Error::retry(ErrorKind::Unavailable, "no agent answers"));
        }
        assert_eq!(plan.broker_url(&self.client).await?, "amqp://broker");
        let asked = Arc::clone(&self.script.asked);
        let pod = plan.spec.source_pod.clone();
        let agent = SourceAgent { pods: pods(&self.client), pod, asked: Arc::clone(&asked), reachable: true };
        let nodes = Nodes { pods: pods(&self.client), asked };
        Ok(Drivers {
            source: Arc::new(KubeSource::new(&self.client, plan, Arc::new(agent))),
            transfer: Arc::new(MemoryTransfer::default()),
            target: Arc::new(KubeTarget::new(&self.client, plan, Arc::new(nodes))),
            broker: Arc::new(Broker(Arc::clone(&self.script))),
        })
    }
}

/// A journal that lets through what the script allows.
#[derive(Debug)]
struct Broker(Arc<Script>);

impl Broker {
    fn decided(&self, migration: &MigrationId) -> Option<bool> {
        self.0.owner.lock().unwrap().iter().find(|(of, _)| of == migration).map(|(_, copy)| *copy)
    }

    fn decide(&self, migration: &MigrationId, copy: bool) -> Ownership {
        let copy = self.decided(migration).unwrap_or_else(|| {
            self.0.owner.lock().unwrap().push((migration.clone(), copy));
            copy
        });
        if copy { Ownership::Copy(cut()) } else { Ownership::Source { reason: "aborted".into() } }
    }
}

fn digest() -> Digest {
    format!("sha256:{}", "7".repeat(64)).parse().unwrap()
}

fn cut() -> CutOver {
    let gap = Some(std::time::Duration::from_micros(3500));
    CutOver { n: 7, digest_source: Some(digest()), digest_copy: Some(digest()), cutover_gap: gap, ..CutOver::default() }
}

#[async_trait]
impl ReplayBroker for Broker {
    fn name(&self) -> &'static str {
        "script"
    }

    async fn begin(&self, _: &ReplayJob) -> Result<Begun> {
        Ok(Begun { protocol: Protocol::Journal, mode: HandoverMode::Chase, applied: 5 })
    }

    async fn park(&self, _: &MigrationId) -> Result<Parked> {
        Ok(Parked { n: 6, digest: digest() })
    }

    async fn resume(&self, _: &MigrationId) -> Result<()> {
        Ok(())
    }

    async fn progress(&self, migration: &MigrationId) -> Result<ReplayProgress> {
        let standing = match self.decided(migration) {
            Some(true) => ReplayStanding::CopyOwns,
            _ if self.0.behind.load(Ordering::SeqCst) => ReplayStanding::Replaying,
            _ => ReplayStanding::Ready,
        };
        Ok(ReplayProgress { source_n: 7, copy_n: 6, standing })
    }

    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership> {
        Ok(self.decide(&job.migration, true))
    }

    async fn abort(&self, migration: &MigrationId, _: &str) -> Result<Ownership> {
        Ok(self.decide(migration, false))
    }

    async fn retire(&self, migration: &MigrationId, _: bool) -> Result<Retired> {
        let cut_over = (self.decided(migration) == Some(true)).then(cut);
        Ok(Retired { applied_by_source: 7, journaled: 1, replayed: 1, applied_by_target: 1, cut_over })
    }
}
