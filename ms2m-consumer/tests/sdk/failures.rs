//! Migrations that do not go as planned; the test is the controller.

use std::time::Duration;

use crate::support::{QUEUE, World, instance};
use ms2m_broker::link::QueueKind;
use ms2m_broker::protocol::{Record, control_name};
use ms2m_consumer::{Determinism, Identity, Limits, Outcome, SnapshotSink, Snapshotted, Standing};
use ms2m_core::{Error, ErrorKind};
use tokio::time::sleep;

const QUEUES: [(QueueKind, bool); 4] =
    [(QueueKind::Classic, false), (QueueKind::Classic, true), (QueueKind::Quorum, false), (QueueKind::Quorum, true)];

fn abort() -> Record {
    Record::Abort { reason: "test".into() }
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_any_step_leaves_the_source_as_it_was() {
    for (kind, single) in QUEUES.into_iter().chain([(QueueKind::Stream, false)]) {
        for step in 0..4 {
            let world = World::new(kind, single).await;
            let publishing = world.publish_slowly(1..=600, Duration::from_micros(500));
            let mut source = world.start("source");
            source.seen(30).await;
            let mut journal = world.raw_journal().await;
            journal.invite("source").await;
            let mut copy = None;
            if step >= 1 {
                journal.append(Record::Park).await;
                journal.until(|view| view.parked.is_some()).await;
            }
            if step >= 2 {
                journal.append(Record::Resume).await;
            }
            if step >= 3 {
                copy = Some(world.start_copy("copy", source.snapshot().await));
                journal.until(|view| view.ready).await;
            }
            journal.append(abort()).await;
            journal.until(|view| view.source_left).await;
            if let Some(copy) = copy {
                assert_eq!(copy.ended().await.unwrap(), Outcome::Discarded("test".into()));
            }
            journal.remove().await;
            publishing.await.unwrap();
            source.seen(600).await;
            source.assert_exact(600);
            source.stands(Standing::Serving).await;
            source.stopped().await;
            world.assert_effects_exact(600);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_takes_back_from_a_copy_that_hangs_after_end() {
    for (kind, single) in QUEUES {
        let world = World::new(kind, single).await;
        let publishing = world.publish_slowly(1..=900, Duration::from_micros(500));
        let mut source = world.start("source");
        source.seen(30).await;
        let mut journal = world.raw_journal().await;
        journal.invite("source").await;
        journal.append(Record::Park).await;
        let snapshot = source.snapshot().await;
        journal.append(Record::Resume).await;
        let copy = world.start_copy("copy", snapshot);
        journal.until(|view| view.ready).await;
        // Hangs for good: its task is gone, its connection is cut when the source fences it.
        copy.task.abort();
        journal.append(Record::HandOver).await;
        journal.until(|view| view.end.is_some()).await;
        journal.append(Record::TakeBack { reason: "the copy hangs".into() }).await;
        journal.until(|view| view.source_left).await;
        journal.remove().await;
        publishing.await.unwrap();
        source.seen(900).await;
        source.assert_exact(900);
        source.stopped().await;
        world.assert_effects_exact(900);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hears_nothing_leaves_by_itself() {
    let mut world = World::new(QueueKind::Quorum, false).await;
    world.limits = Limits { patience: Duration::from_secs(2), ..world.limits };
    let mut source = world.start("source");
    source.stands(Standing::Serving).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    // Word from the controller counts, whatever it says.
    for _ in 0..3 {
        sleep(Duration::from_millis(1500)).await;
        journal.append(Record::Brake { permille: 1000 }).await;
    }
    journal.append(Record::Park).await;
    journal.until(|view| view.parked.is_some()).await;
    assert!(journal.view.aborted.is_none());
    journal.until(|view| view.source_left).await;
    assert!(journal.view.aborted.as_ref().is_some_and(|reason| reason.contains("heard nothing")));
    world.publish(1..=50).await;
    source.seen(50).await;
    source.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_fences_a_source_that_dies() {
    for (kind, single) in QUEUES.into_iter().filter(|(_, single)| *single) {
        let world = World::new(kind, single).await;
        let publishing = world.publish_slowly(1..=900, Duration::from_micros(400));
        let mut source = world.start("source");
        source.seen(30).await;
        let mut journal = world.raw_journal().await;
        journal.invite("source").await;
        journal.append(Record::Park).await;
        let snapshot = source.snapshot().await;
        journal.append(Record::Resume).await;
        let copy = world.start_copy("copy", snapshot);
        journal.until(|view| view.ready).await;
        sleep(Duration::from_millis(20)).await;
        source.task.abort();
        journal.until(|view| view.fence.is_some()).await;
        journal.append(Record::Retire).await;
        journal.until(|view| view.copy_left).await;
        publishing.await.unwrap();
        copy.seen(900).await;
        copy.assert_exact(900);
        copy.stopped().await;
        world.assert_effects_repeat_only(900);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_without_single_active_consumer_is_failed_over() {
    let world = World::new(QueueKind::Quorum, false).await;
    let publishing = world.publish_slowly(1..=900, Duration::from_micros(400));
    let mut source = world.start("source");
    source.seen(30).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append(Record::Park).await;
    let snapshot = source.snapshot().await;
    journal.append(Record::Resume).await;
    let copy = world.start_copy("copy", snapshot);
    journal.until(|view| view.ready).await;
    source.task.abort();
    journal.append(Record::FailOver).await;
    journal.until(|view| view.fence.is_some()).await;
    publishing.await.unwrap();
    copy.seen(900).await;
    copy.assert_exact(900);
    copy.stopped().await;
    world.assert_effects_repeat_only(900);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_asks_other_questions_refuses_itself() {
    let mut world = World::new(QueueKind::Classic, false).await;
    world.determinism = Determinism::Recorded;
    let mut source = world.start("source");
    world.publish(1..=20).await;
    source.seen(20).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append(Record::Park).await;
    let snapshot = source.snapshot().await;
    journal.append(Record::Resume).await;
    world.publish(21..=40).await;
    source.seen(40).await;
    let mut ledger = world.ledger();
    ledger.unfaithful = true;
    let seen = ledger.seen.clone();
    let copy = World::run(seen, world.builder(ledger).identity(instance("copy")).restored(snapshot));
    journal.until(|view| view.rejected.is_some()).await;
    let Outcome::Discarded(reason) = copy.ended().await.unwrap() else { panic!() };
    assert!(reason.contains("@random"), "{reason}");
    journal.append(abort()).await;
    journal.until(|view| view.source_left).await;
    source.assert_exact(40);
    source.stopped().await;
}

#[derive(Debug)]
struct FullDisk;

#[async_trait::async_trait]
impl SnapshotSink for FullDisk {
    async fn put(&mut self, _: Snapshotted) -> ms2m_core::Result<()> {
        Err(Error::undo(ErrorKind::LimitExceeded, "the disk is full"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_written_aborts_the_migration() {
    let world = World::new(QueueKind::Classic, false).await;
    let ledger = world.ledger();
    let seen = ledger.seen.clone();
    let consumer = world.builder(ledger).identity(instance("source")).snapshots(FullDisk).build().unwrap();
    let stop = consumer.stop_handle();
    let task = tokio::spawn(consumer.run());
    world.publish(1..=20).await;
    sleep(Duration::from_millis(50)).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append(Record::Park).await;
    journal.until(|view| view.source_left).await;
    assert!(journal.view.parked.is_none());
    assert!(journal.view.aborted.as_ref().is_some_and(|reason| reason.contains("disk is full")));
    world.publish(21..=40).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(seen.lock().unwrap().len(), 40);
    stop.stop();
    assert_eq!(task.await.unwrap().unwrap(), Outcome::Stopped);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_journal_aborts_before_anything_is_concluded_from_it() {
    let world = World::new(QueueKind::Classic, false).await;
    let mut source = world.start("source");
    source.stands(Standing::Serving).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append_raw(&[99, 1, 2, 3]).await;
    journal.until(|view| view.source_left).await;
    assert!(journal.view.aborted.as_ref().is_some_and(|reason| reason.contains("version 99")));
    source.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn invitations_that_make_no_sense_change_nothing() {
    let world = World::new(QueueKind::Classic, false).await;
    let mut source = world.start("source");
    source.stands(Standing::Serving).await;
    let mut publisher = world.admin.publisher().await.unwrap();
    for body in [&b""[..], b"\x01garbage", b"\x63"] {
        let message = ms2m_broker::link::body_only(bytes::Bytes::from_static(body));
        publisher.publish(&control_name(&instance("source")), message).await.unwrap().await.unwrap();
    }
    world.publish(1..=20).await;
    source.seen(20).await;
    source.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_thawed_process_with_another_identity_is_the_copy() {
    for (kind, single) in QUEUES.into_iter().chain([(QueueKind::Stream, false)]) {
        let world = World::new(kind, single).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("uid");
        std::fs::write(&file, "source\n").unwrap();
        let (original, thawed) = (world.ledger(), world.ledger());
        let (seen, thawed_seen) = (original.seen.clone(), thawed.seen.clone());
        let mut source = World::run(seen, world.builder(original).identity(instance("source")));
        // The twin stands for the restored process: it goes through the same life as the source, on a broker of its own, until
        // it is parked at the same message.
        let mut twin_world = World::new(kind, single).await;
        twin_world.outside = crate::support::Outside::default();
        twin_world.publish(1..=30).await;
        let relay = Relay::default();
        relay.point_to(&twin_world.broker);
        let builder = ms2m_consumer::Consumer::builder(std::sync::Arc::new(relay.clone()), world.spec.clone(), thawed);
        let builder =
            builder.effects(world.outside.clone()).prefetch(20).limits(world.limits).clock(world.clock).identity(Identity::file(&file));
        let builder = builder.effects(twin_world.outside.clone());
        let mut twin = World::run(thawed_seen, builder);
        twin.seen(30).await;
        let mut twin_journal = twin_world.raw_journal().await;
        twin_journal.invite("source").await;
        twin_journal.append(Record::Park).await;
        twin_journal.until(|view| view.parked.is_some()).await;
        twin.stands(Standing::Parked).await;

        world.publish(1..=30).await;
        source.seen(30).await;
        let mut journal = world.raw_journal().await;
        journal.invite("source").await;
        journal.append(Record::Park).await;
        journal.until(|view| view.parked.is_some()).await;
        source.stands(Standing::Parked).await;
        journal.append(Record::Resume).await;
        let publishing = world.publish_slowly(31..=400, Duration::from_micros(700));

        // The thaw: another node, another identity, the connection dead.
        std::fs::write(&file, "copy\n").unwrap();
        relay.point_to(&world.broker);
        assert_eq!(twin_world.broker.drop_connection("ms2m-source"), 1);
        journal.until(|view| view.ready).await;
        assert_eq!(journal.view.copy_connection.as_deref(), Some("ms2m-copy"));
        journal.append(Record::HandOver).await;
        journal.until(|view| view.taken.is_some()).await;
        journal.append(Record::Retire).await;
        assert_eq!(source.ended().await.unwrap(), Outcome::Moved);
        publishing.await.unwrap();
        twin.seen(400).await;
        twin.assert_exact(400);
        twin.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_restored_from_no_safe_point_must_not_consume() {
    let world = World::new(QueueKind::Classic, false).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("uid");
    std::fs::write(&file, "source").unwrap();
    let ledger = world.ledger();
    let mut consumer = World::run(ledger.seen.clone(), world.builder(ledger).identity(Identity::file(&file)));
    consumer.stands(Standing::Serving).await;
    std::fs::write(&file, "another").unwrap();
    world.broker.drop_connection("ms2m-source");
    let error = consumer.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invariant);
    assert!(error.to_string().contains("safe point"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_queue_starts_nothing() {
    let world = World::new(QueueKind::Classic, false).await;
    let mut source = world.start("source");
    source.stands(Standing::Serving).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append(Record::Park).await;
    let mut snapshot = source.snapshot().await;
    snapshot.queue = "invoices".into();
    let error = world.builder(world.ledger()).restored(snapshot.clone()).build().unwrap_err();
    assert!(error.to_string().contains("invoices") && error.to_string().contains(QUEUE), "{error}");
    // Of the right queue, but the migration is over: the copy is not needed.
    snapshot.queue = QUEUE.into();
    journal.append(abort()).await;
    journal.until(|view| view.source_left).await;
    journal.remove().await;
    let Outcome::Discarded(_) = world.start_copy("copy", snapshot).ended().await.unwrap() else { panic!("not discarded") };
    source.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_brake_slows_the_source_down_and_lets_it_go_again() {
    let mut world = World::new(QueueKind::Classic, false).await;
    world.service = Duration::from_millis(5);
    world.publish(1..=400).await;
    let source = world.start("source");
    source.seen(1).await;
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    let rate = async |seconds: u64| {
        let before = source.seen.lock().unwrap().len();
        sleep(Duration::from_secs(seconds)).await;
        (source.seen.lock().unwrap().len() - before) as u64 / seconds
    };
    journal.append(Record::Brake { permille: 250 }).await;
    let braked = rate(2).await;
    assert!((40..=51).contains(&braked), "a quarter of 200/s: {braked}/s");
    journal.append(Record::Brake { permille: 1000 }).await;
    let free = rate(1).await;
    assert!(free > 120, "{free}/s");
    source.stopped().await;
}

/// A broker that can be exchanged for another one, as a network is under a restored process.
#[derive(Clone, Debug, Default)]
struct Relay(std::sync::Arc<std::sync::Mutex<Option<ms2m_testkit::MemoryBroker>>>);

impl Relay {
    fn point_to(&self, broker: &ms2m_testkit::MemoryBroker) {
        *self.0.lock().unwrap() = Some(broker.clone());
    }

    fn broker(&self) -> ms2m_testkit::MemoryBroker {
        self.0.lock().unwrap().clone().unwrap()
    }
}

#[async_trait::async_trait]
impl ms2m_broker::Broker for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    async fn connect(&self, name: &str) -> ms2m_broker::link::LinkResult<std::sync::Arc<dyn ms2m_broker::Connection>> {
        self.broker().connect(name).await
    }

    async fn fence(&self, name: &str) -> ms2m_broker::link::LinkResult<bool> {
        self.broker().fence(name).await
    }

    async fn inspect(&self, queue: &str) -> ms2m_broker::link::LinkResult<Option<ms2m_broker::link::QueueFacts>> {
        self.broker().inspect(queue).await
    }
}
