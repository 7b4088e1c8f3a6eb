//! The engine's own driver over real consumers: what takes long, and what ends too early.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_broker::link::QueueKind;
use ms2m_consumer::{Snapshot, Snapshotted};
use ms2m_core::{
    CopyStatus, Driver, Drivers, HandoverChoice, MemoryStore, MigrationId, MigrationReport, MigrationSpec, Outcome, Phase, RestoreJob,
    Result, SourceStatus, TransferBackend,
};
use ms2m_testkit::MemoryTransfer;
use ms2m_testkit::snapshot::{self, SnapshotHost, SnapshotOrigin, SnapshotSource, SnapshotTarget};
use ms2m_testkit::wrap::Delayed;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::support::{QUEUE, Running, World, instance, migration};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// A consumer as the snapshot driver sees it.
#[derive(Debug)]
struct Origin {
    task: AbortHandle,
    snapshots: tokio::sync::Mutex<mpsc::Receiver<Snapshotted>>,
}

#[async_trait]
impl SnapshotOrigin for Origin {
    async fn snapshot(&self, _: &MigrationId) -> Result<snapshot::Snapshot> {
        let Snapshotted { bytes, freeze, .. } = self.snapshots.lock().await.recv().await.unwrap();
        Ok(snapshot::Snapshot { bytes, freeze })
    }

    async fn status(&self) -> Result<SourceStatus> {
        Ok(if self.task.is_finished() { SourceStatus::Gone } else { SourceStatus::Present })
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.task.abort();
        Ok(())
    }
}

/// Where the copy comes to life.
struct Host {
    world: Arc<World>,
    copy: Mutex<Option<Running>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

#[async_trait]
impl SnapshotHost for Host {
    async fn start(&self, job: &RestoreJob, state: Bytes) -> Result<()> {
        let copy = self.world.start_copy(job.copy.as_str(), Snapshot::decode(&state)?);
        *self.copy.lock().unwrap() = Some(copy);
        Ok(())
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        let lives = self.copy.lock().unwrap().as_ref().is_some_and(|copy| !copy.task.is_finished());
        Ok(if lives { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        if let Some(copy) = self.copy.lock().unwrap().take() {
            copy.task.abort();
        }
        Ok(())
    }
}

struct Move {
    world: Arc<World>,
    host: Arc<Host>,
    source: Running,
}

impl Move {
    async fn new(kind: QueueKind, service: Duration) -> Self {
        let mut world = World::new(kind, false).await;
        world.service = service;
        world.replays_slowly = true;
        let world = Arc::new(world);
        let mut source = world.start("source");
        source.stands(ms2m_consumer::Standing::Serving).await;
        let host = Arc::new(Host { world: Arc::clone(&world), copy: Mutex::default() });
        Self { world, host, source }
    }

    async fn run(&mut self, mode: HandoverChoice, latency: Duration) -> MigrationReport {
        let (_, nobody) = mpsc::channel(1);
        let snapshots = tokio::sync::Mutex::new(std::mem::replace(&mut self.source.snapshots, nobody));
        let origin = Origin { task: self.source.task.abort_handle(), snapshots };
        let transfer: Arc<dyn TransferBackend> = Arc::new(Delayed::new(Arc::new(MemoryTransfer::default()), latency));
        let drivers = Drivers {
            source: Arc::new(SnapshotSource::new(Arc::new(origin), 1 << 20)),
            transfer,
            target: Arc::new(SnapshotTarget::new("task", Arc::clone(&self.host) as _, 1 << 20)),
            broker: Arc::new(self.world.controller()),
        };
        let spec = MigrationSpec { mode, ..MigrationSpec::new(migration(), QUEUE, instance("source"), instance("copy")) };
        let spec = MigrationSpec { deadlines: ms2m_core::Deadlines { restoring: FIVE_MINUTES * 2, ..spec.deadlines }, ..spec };
        Driver::new(drivers, Arc::new(MemoryStore::default())).run(spec).await.unwrap()
    }

    fn copy(&self) -> Running {
        self.host.copy.lock().unwrap().take().expect("a copy")
    }
}

/// Ten times the source's patience, in each of transfer and restore; the source works, or stands still, all the while.
#[tokio::test(start_paused = true)]
async fn a_transfer_of_five_minutes_ends_exact() {
    for (mode, kind) in
        [(HandoverChoice::Chase, QueueKind::Classic), (HandoverChoice::Hold, QueueKind::Quorum), (HandoverChoice::Chase, QueueKind::Stream)]
    {
        let mut mv = Move::new(kind, Duration::from_millis(1)).await;
        let publishing = mv.world.publish_slowly(1..=3_500, Duration::from_millis(200));
        let report = mv.run(mode, FIVE_MINUTES).await;
        assert_eq!(report.outcome, Outcome::Completed, "{mode:?} {kind:?}: {report:#?}");
        let ms = report.durations_ms;
        assert!(ms.transfer.unwrap() >= 300_000.0 && ms.restore.unwrap() >= 300_000.0, "{ms:?}");
        assert_eq!(report.ledger.journal.digest_source, report.ledger.journal.digest_target);
        publishing.await.unwrap();
        let copy = mv.copy();
        copy.seen(3_500).await;
        copy.assert_exact(3_500);
        copy.stopped().await;
        mv.world.assert_effects_exact(3_500);
    }
}

/// The copy needs a minute to catch up: the questions for its progress keep the source patient.
#[tokio::test(start_paused = true)]
async fn a_replay_longer_than_the_source_s_patience_ends_exact() {
    let mut mv = Move::new(QueueKind::Classic, Duration::from_millis(10)).await;
    let publishing = mv.world.publish_slowly(1..=6_000, Duration::from_micros(12_500));
    let report = mv.run(HandoverChoice::Chase, Duration::from_secs(20)).await;
    assert_eq!(report.outcome, Outcome::Completed, "{report:#?}");
    assert!(report.durations_ms.replay.unwrap() > 32_000.0, "{report:#?}");
    publishing.await.unwrap();
    let copy = mv.copy();
    copy.seen(6_000).await;
    copy.assert_exact(6_000);
    copy.stopped().await;
    mv.world.assert_effects_exact(6_000);
}

/// Its source works on, without a gap of the length of a deadline.
#[tokio::test(start_paused = true)]
async fn a_copy_that_dies_is_noticed_at_once() {
    let mut mv = Move::new(QueueKind::Quorum, Duration::from_millis(10)).await;
    let publishing = mv.world.publish_slowly(1..=3_000, Duration::from_micros(12_500));
    let host = Arc::clone(&mv.host);
    let killing = tokio::spawn(async move {
        while host.copy.lock().unwrap().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
        // It has thousands of messages to replay.
        sleep(Duration::from_millis(500)).await;
        host.copy.lock().unwrap().as_ref().unwrap().task.abort();
        Instant::now()
    });
    let latency = Duration::from_secs(10);
    let report = mv.run(HandoverChoice::Chase, latency).await;
    // Nothing else takes as long as the discard of what was transferred.
    let noticed = killing.await.unwrap().elapsed() - latency;
    assert_eq!((report.outcome, report.phase_reached), (Outcome::RolledBack, Phase::Replaying), "{report:#?}");
    assert!(report.reason.unwrap().contains("the copy has ended by itself"));
    assert!(noticed < Duration::from_secs(1), "{noticed:?}");
    publishing.await.unwrap();
    let source = mv.source;
    source.seen(3_000).await;
    source.assert_exact(3_000);
    source.stopped().await;
    mv.world.assert_effects_exact(3_000);
}
