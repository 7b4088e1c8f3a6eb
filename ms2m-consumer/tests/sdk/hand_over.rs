//! Whole migrations under load, with the controller that products use.

use std::time::Duration;

use crate::support::{LONG, Running, World, migration};
use ms2m_broker::link::QueueKind;
use ms2m_consumer::{Determinism, Outcome, Standing};
use ms2m_core::{HandOverJob, HandoverMode, Ownership, ReplayBroker as _, ReplayStanding};
use tokio::time::{sleep, timeout};

const KINDS: [(QueueKind, bool); 5] = [
    (QueueKind::Classic, false),
    (QueueKind::Classic, true),
    (QueueKind::Quorum, false),
    (QueueKind::Quorum, true),
    (QueueKind::Stream, false),
];

/// Moves a consumer from `source` to `copy` while messages keep coming; returns the copy, which then serves alone.
pub(crate) async fn moves(world: &World, count: u64, arrivals: Duration) -> Running {
    let publishing = world.publish_slowly(1..=count, arrivals);
    let mut source = world.start("source");
    source.seen(50).await;
    let controller = world.controller();
    world.begin(&controller).await;
    let parked = controller.park(&migration()).await.unwrap();
    let snapshot = source.snapshot().await;
    assert_eq!(snapshot.image.chain.n(), parked.n);
    source.stands(Standing::Parked).await;
    let mode = if world.determinism == Determinism::Unknown { HandoverMode::Hold } else { HandoverMode::Chase };
    if mode == HandoverMode::Chase {
        controller.resume(&migration()).await.unwrap();
    }
    // The transfer.
    sleep(Duration::from_millis(60)).await;
    let mut copy = world.start_copy("copy", snapshot);
    copy.stands(Standing::Replaying).await;
    let ready = timeout(LONG, async {
        loop {
            match controller.progress(&migration()).await.unwrap().standing {
                ReplayStanding::Ready => break,
                ReplayStanding::AwaitingCopy | ReplayStanding::Replaying => sleep(Duration::from_millis(10)).await,
                other => panic!("{other:?}"),
            }
        }
    });
    ready.await.expect("ready in time");
    let job = HandOverJob { migration: migration(), source_gone: false, deadline: Duration::from_secs(10) };
    let Ownership::Copy(_) = controller.hand_over(&job).await.unwrap() else { panic!("not handed over") };
    copy.stands(Standing::Serving).await;
    let retired = controller.retire(&migration(), false).await.unwrap();
    let cut_over = retired.cut_over.expect("a cut-over");
    assert_eq!(cut_over.digest_source, cut_over.digest_copy);
    assert!(cut_over.digest_copy.is_some());
    assert_eq!(source.ended().await.unwrap(), Outcome::Moved);
    publishing.await.unwrap();
    copy.seen(usize::try_from(count).unwrap()).await;
    sleep(Duration::from_millis(100)).await;
    copy.assert_exact(count);
    copy
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_queue_changes_hands_exactly_and_effects_leave_once() {
    for (kind, single) in KINDS {
        for arrivals in [Duration::from_micros(2_500), Duration::from_micros(150)] {
            let mut world = World::new(kind, single).await;
            world.service = Duration::from_micros(200);
            let copy = moves(&world, 1500, arrivals).await;
            copy.stopped().await;
            world.assert_effects_exact(1500);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_not_deterministic_stays_parked_while_it_moves() {
    for (kind, single) in KINDS {
        let mut world = World::new(kind, single).await;
        world.determinism = Determinism::Unknown;
        let copy = moves(&world, 600, Duration::from_millis(1)).await;
        copy.stopped().await;
        world.assert_effects_exact(600);
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_values_come_to_the_same_state_and_the_same_effects() {
    for (kind, single) in KINDS.into_iter().filter(|(kind, _)| *kind != QueueKind::Stream) {
        let mut world = World::new(kind, single).await;
        world.determinism = Determinism::Recorded;
        let copy = moves(&world, 800, Duration::from_micros(700)).await;
        copy.stopped().await;
        world.assert_effects_exact(800);
        world.assert_effects_repeat_only(800);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_has_taken_over_can_be_moved_on() {
    let world = World::new(QueueKind::Quorum, true).await;
    let mut copy = moves(&world, 800, Duration::from_millis(1)).await;
    // The second migration is the first one's mirror image: `copy` is asked, `source` takes over.
    let mut journal = world.raw_journal().await;
    journal.invite("copy").await;
    journal.append(ms2m_broker::protocol::Record::Park).await;
    let snapshot = copy.snapshot().await;
    assert_eq!(snapshot.image.chain.n(), 800);
    journal.append(ms2m_broker::protocol::Record::Resume).await;
    let next = world.start_copy("next", snapshot);
    world.publish(801..=900).await;
    journal.until(|view| view.ready).await;
    journal.append(ms2m_broker::protocol::Record::HandOver).await;
    journal.until(|view| view.taken.is_some()).await;
    world.publish(901..=1000).await;
    next.seen(1000).await;
    journal.append(ms2m_broker::protocol::Record::Retire).await;
    assert_eq!(copy.ended().await.unwrap(), Outcome::Moved);
    journal.until(|view| view.copy_left).await;
    next.assert_exact(1000);
    next.stopped().await;
    world.assert_effects_exact(1000);
}

#[tokio::test(start_paused = true)]
async fn state_is_exact_when_connections_drop_all_along() {
    for (kind, single) in KINDS {
        let mut world = World::new(kind, single).await;
        world.service = Duration::from_micros(400);
        let publishing = world.publish_slowly(1..=2000, Duration::from_micros(600));
        let mut source = world.start("source");
        source.seen(30).await;
        let controller = world.controller();
        world.begin(&controller).await;
        world.broker.drop_connection("ms2m-source");
        controller.park(&migration()).await.unwrap();
        let snapshot = source.snapshot().await;
        world.broker.drop_connection("ms2m-source");
        controller.resume(&migration()).await.unwrap();
        let copy = world.start_copy("copy", snapshot);
        let broker = world.broker.clone();
        let breaking = tokio::spawn(async move {
            for round in 0..6 {
                sleep(Duration::from_millis(31)).await;
                // With a single active consumer a lost source is a cut-over by FENCE, which another test shows.
                broker.drop_connection(if round % 2 == 0 || single { "ms2m-copy" } else { "ms2m-source" });
            }
        });
        breaking.await.unwrap();
        let ready = async {
            while controller.progress(&migration()).await.unwrap().standing != ReplayStanding::Ready {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, ready).await.expect("ready in time");
        let job = HandOverJob { migration: migration(), source_gone: false, deadline: Duration::from_secs(20) };
        let Ownership::Copy(_) = controller.hand_over(&job).await.unwrap() else { panic!("not handed over: {kind:?} {single}") };
        controller.retire(&migration(), false).await.unwrap();
        assert_eq!(source.ended().await.unwrap(), Outcome::Moved);
        publishing.await.unwrap();
        copy.seen(2000).await;
        sleep(Duration::from_millis(100)).await;
        copy.assert_exact(2000);
        copy.stopped().await;
        world.assert_effects_repeat_only(2000);
    }
}
