//! The testkit's own implementations keep the contracts, wrapped or not.

mod paged;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::{CopyStatus, MigrationId, RestoreJob, Result, SourceStatus};
use ms2m_testkit::conformance::{self, CheckpointSubject, RestoreSubject};
use ms2m_testkit::link_conformance::{self, Options};
use ms2m_testkit::snapshot::{Snapshot, SnapshotHost, SnapshotOrigin, SnapshotSource, SnapshotTarget};
use ms2m_testkit::wrap::{Chaos, ChaosOptions, Delayed, Throttled};
use ms2m_testkit::{MemoryBroker, MemoryTransfer, Profile};
use paged::{Assembler, Paged};

#[tokio::test(start_paused = true)]
async fn memory_broker_at_once() {
    link_conformance::run(async || Arc::new(MemoryBroker::default()), &Options::default()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_broker_with_the_latencies_of_rabbitmq() {
    link_conformance::run(async || Arc::new(MemoryBroker::new(Profile::rabbitmq())), &Options::default()).await;
}

#[tokio::test]
async fn memory_broker_in_real_time_shared_by_all_cases() {
    let broker = Arc::new(MemoryBroker::new(Profile { fence: false, inspect: false, ..Profile::rabbitmq() }));
    let options = Options { fence: false, silence: Duration::from_millis(60), ..Options::default() };
    link_conformance::run(async || Arc::clone(&broker), &options).await;
    assert_eq!(broker.census().queues, 0);
}

#[tokio::test(start_paused = true)]
async fn memory_transfer() {
    conformance::transfer(async || Arc::new(MemoryTransfer::new(64 << 20))).await;
}

#[tokio::test(start_paused = true)]
async fn wrapped_transfers() {
    let inner = || Arc::new(MemoryTransfer::new(64 << 20));
    conformance::transfer(async || Arc::new(Delayed::new(inner(), Duration::from_millis(40)))).await;
    conformance::transfer(async || Arc::new(Throttled::new(inner(), 20_000_000))).await;
    conformance::transfer(async || Arc::new(Chaos::new(inner(), ChaosOptions::always(1, 0)))).await;
}

#[derive(Debug, Default)]
struct Consumer {
    ended: AtomicBool,
}

#[async_trait]
impl SnapshotOrigin for Consumer {
    async fn snapshot(&self, _: &MigrationId) -> Result<Snapshot> {
        Ok(Snapshot { bytes: Bytes::from(vec![7; 2_000_000]), freeze: Duration::ZERO })
    }
    async fn status(&self) -> Result<SourceStatus> {
        Ok(if self.ended.load(Ordering::Relaxed) { SourceStatus::Gone } else { SourceStatus::Present })
    }
    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn source() -> CheckpointSubject {
    let consumer = Arc::new(Consumer::default());
    let source = Arc::new(SnapshotSource::new(consumer.clone(), 64 << 20));
    CheckpointSubject { source, alive: Box::new(move || !consumer.ended.load(Ordering::Relaxed)), keep: Box::new(()) }
}

#[tokio::test(start_paused = true)]
async fn snapshot_source() {
    conformance::checkpoint(async || source()).await;
}

#[tokio::test(start_paused = true)]
async fn wrapped_snapshot_sources() {
    conformance::checkpoint(async || {
        let subject = source();
        CheckpointSubject { source: Arc::new(Delayed::new(subject.source, Duration::from_millis(5))), ..subject }
    })
    .await;
    conformance::checkpoint(async || {
        let subject = source();
        CheckpointSubject { source: Arc::new(Throttled::new(subject.source, 10_000_000)), ..subject }
    })
    .await;
}

#[derive(Debug, Default)]
struct Host(Mutex<HashSet<MigrationId>>);

#[async_trait]
impl SnapshotHost for Host {
    async fn start(&self, job: &RestoreJob, _: Bytes) -> Result<()> {
        assert!(self.0.lock().unwrap().insert(job.migration.clone()));
        Ok(())
    }
    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        Ok(if self.0.lock().unwrap().contains(migration) { CopyStatus::Present } else { CopyStatus::Gone })
    }
    async fn end(&self, migration: &MigrationId) -> Result<()> {
        self.0.lock().unwrap().remove(migration);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn snapshot_target() {
    let make = || {
        let host = Arc::new(Host::default());
        let target = Arc::new(SnapshotTarget::new("memory", host.clone(), 1 << 20));
        let (doomed, parts) = (host.clone(), vec![Bytes::from(vec![9; 700_000])]);
        let live_copies = Box::new(move || host.0.lock().unwrap().len());
        let crash_copies = Box::new(move || doomed.0.lock().unwrap().clear());
        RestoreSubject { target, parts, live_copies, crash_copies, keep: Box::new(()) }
    };
    conformance::restore(async || make()).await;
    conformance::restore(async || {
        let subject = make();
        RestoreSubject { target: Arc::new(Throttled::new(subject.target, 1_000_000)), ..subject }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_source_with_pre_dump() {
    conformance::checkpoint(async || {
        let source = Arc::new(Paged::new(None));
        let process = Arc::clone(&source);
        let source = Arc::new(Throttled::new(source, 50_000_000));
        CheckpointSubject { source, alive: Box::new(move || process.lives()), keep: Box::new(()) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stages() {
    for rounds in [0, 1, 3] {
        let parts = Paged::new(None).parts(rounds).await;
        conformance::restore(async || {
            let target = Arc::new(Assembler::default());
            let (copies, doomed, parts) = (target.copies.clone(), target.copies.clone(), parts.clone());
            let live_copies = Box::new(move || copies.lock().unwrap().len());
            let crash_copies = Box::new(move || doomed.lock().unwrap().clear());
            let target = Arc::new(Delayed::new(target, Duration::from_millis(1)));
            RestoreSubject { target, parts, live_copies, crash_copies, keep: Box::new(()) }
        })
        .await;
    }
}
