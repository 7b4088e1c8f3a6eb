//! A queue has one consumer: others wait.

use std::time::Duration;

use ms2m_broker::link::{QueueKind, QueueOptions};
use ms2m_broker::protocol::{Record, journal_name};
use ms2m_consumer::{Outcome, Standing};
use tokio::time::{Instant, sleep};

use crate::hand_over::moves;
use crate::support::{QUEUE, Running, World};

const SHARED: [QueueKind; 2] = [QueueKind::Classic, QueueKind::Quorum];

/// One that serves, and one that waits for it.
async fn one_waits(kind: QueueKind) -> (World, Running, Running) {
    let world = World::new(kind, false).await;
    let first = world.start("first");
    world.publish(1..=50).await;
    first.seen(50).await;
    let mut second = world.start("second");
    second.stands(Standing::Waiting).await;
    (world, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_second_consumer_begins_when_the_first_has_left() {
    for kind in SHARED {
        let (world, first, mut second) = one_waits(kind).await;
        world.publish(51..=100).await;
        first.seen(100).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(*second.standing.borrow(), Standing::Waiting);
        first.assert_exact(100);
        first.stopped().await;
        second.stands(Standing::Serving).await;
        world.publish(101..=110).await;
        second.seen(10).await;
        second.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_stopped_like_any_other() {
    let (_, first, second) = one_waits(QueueKind::Quorum).await;
    second.stopped().await;
    first.stopped().await;
}

/// While it moves, a queue has no consumer for a moment, which is nobody's chance.
#[tokio::test(start_paused = true)]
async fn who_waits_does_not_come_between_a_source_and_its_copy() {
    for kind in SHARED {
        let world = World::new(kind, false).await;
        let waits = async {
            sleep(Duration::from_millis(50)).await;
            let mut third = world.start("third");
            third.stands(Standing::Waiting).await;
            third
        };
        let (copy, mut third) = tokio::join!(moves(&world, 500, Duration::from_micros(2_500)), waits);
        assert_eq!(*third.standing.borrow_and_update(), Standing::Waiting);
        assert!(third.seen.lock().unwrap().is_empty());
        copy.stopped().await;
        world.assert_effects_exact(500);
        third.stands(Standing::Serving).await;
        third.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_consumer_takes_no_part_in_a_migration() {
    let (world, first, second) = one_waits(QueueKind::Classic).await;
    let mut journal = world.raw_journal().await;
    journal.ask("second").await;
    sleep(Duration::from_secs(5)).await;
    journal.append(Record::Park).await;
    journal.until(|view| view.park).await;
    assert!(journal.view.joined.is_none());
    second.stopped().await;
    first.stopped().await;
}

/// With a state it is better to go on than to wait for a journal that nobody removes.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_comes_back_waits_for_a_journal_and_not_for_ever() {
    let world = World::new(QueueKind::Classic, false).await;
    let mut consumer = world.start("first");
    world.publish(1..=10).await;
    consumer.seen(10).await;
    let options = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: None };
    world.admin.declare(&journal_name(QUEUE), &options).await.unwrap();
    let lost = Instant::now();
    assert_eq!(world.broker.drop_connection("ms2m-first"), 1);
    consumer.stands(Standing::Waiting).await;
    world.publish(11..=20).await;
    consumer.stands(Standing::Serving).await;
    assert!(lost.elapsed() > Duration::from_secs(20), "{:?}", lost.elapsed());
    consumer.seen(20).await;
    consumer.assert_exact(20);
    consumer.stop.stop();
    assert_eq!(consumer.ended().await.unwrap(), Outcome::Stopped);
}
