//! Consumers outside migrations.

use std::time::Duration;

use crate::support::{QUEUE, World, instance, text};
use ms2m_broker::link::{Broker as _, ConsumeOptions, QueueKind, QueueOptions};
use ms2m_broker::protocol::journal_name;
use ms2m_consumer::{Consumer, Limits, PublishSink, QueueSpec, Standing};
use ms2m_core::ErrorKind;
use tokio::time::sleep;

const KINDS: [(QueueKind, bool); 5] = [
    (QueueKind::Classic, false),
    (QueueKind::Classic, true),
    (QueueKind::Quorum, false),
    (QueueKind::Quorum, true),
    (QueueKind::Stream, false),
];

#[tokio::test(start_paused = true)]
async fn everything_is_applied_once_and_acknowledged() {
    for (kind, single) in KINDS {
        let world = World::new(kind, single).await;
        world.publish(1..=500).await;
        let consumer = world.start("source");
        consumer.seen(500).await;
        world.publish(501..=600).await;
        consumer.seen(600).await;
        consumer.assert_exact(600);
        consumer.stopped().await;
        world.assert_effects_exact(600);
        if kind != QueueKind::Stream {
            assert_eq!(world.broker.census().ready, 0, "{kind:?}: all acknowledged");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_acknowledges_what_was_applied_and_returns_the_rest() {
    let world = World::new(QueueKind::Quorum, false).await;
    world.publish(1..=300).await;
    let consumer = world.start("source");
    consumer.seen(100).await;
    let seen = consumer.seen.clone();
    consumer.stopped().await;
    let applied = seen.lock().unwrap().len() as u64;
    assert!(applied < 300);
    world.assert_effects_exact(applied);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(world.broker.census().ready as u64, 300 - applied);
}

#[tokio::test(start_paused = true)]
async fn state_is_exact_whatever_connections_do() {
    for (kind, single) in KINDS {
        let world = World::new(kind, single).await;
        world.broker.set_faults(|faults| faults.quorum_single_acks_dropped = 5);
        let publishing = world.publish_slowly(1..=2000, Duration::from_micros(300));
        let consumer = world.start("source");
        for round in 0..12 {
            sleep(Duration::from_millis(45)).await;
            if round % 4 == 3 {
                world.broker.set_faults(|faults| faults.unavailable = true);
                world.broker.drop_connection("ms2m-source");
                sleep(Duration::from_millis(30)).await;
                world.broker.set_faults(|faults| faults.unavailable = false);
            } else {
                world.broker.drop_connection("ms2m-source");
            }
        }
        publishing.await.unwrap();
        consumer.seen(2000).await;
        sleep(Duration::from_millis(50)).await;
        consumer.assert_exact(2000);
        consumer.stopped().await;
        world.assert_effects_repeat_only(2000);
    }
}

#[tokio::test(start_paused = true)]
async fn effects_are_repeated_until_they_are_out_and_messages_are_kept_meanwhile() {
    let world = World::new(QueueKind::Classic, false).await;
    world.outside.fail_next(5);
    world.publish(1..=100).await;
    let consumer = world.start("source");
    sleep(Duration::from_millis(30)).await;
    assert!(world.broker.census().held > 0, "not acknowledged before effects are out");
    consumer.seen(100).await;
    consumer.stopped().await;
    world.assert_effects_repeat_only(100);
    assert_eq!(world.broker.census().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn effects_that_never_get_out_end_the_consumer_with_its_messages_returned() {
    let mut world = World::new(QueueKind::Classic, false).await;
    world.limits.effect_attempts = 3;
    world.outside.fail_next(u32::MAX);
    world.publish(1..=10).await;
    let error = world.start("source").ended().await.unwrap_err();
    assert!(error.to_string().contains("3 attempts"), "{error}");
    assert_eq!(world.broker.census().ready, 10);
}

#[tokio::test(start_paused = true)]
async fn a_publish_sink_names_each_effect_and_survives_its_connection() {
    let world = World::new(QueueKind::Classic, false).await;
    let options = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
    world.admin.declare("out", &options).await.unwrap();
    world.publish(1..=200).await;
    let ledger = world.ledger();
    let seen = ledger.seen.clone();
    let sink = PublishSink::new(std::sync::Arc::new(world.broker.clone()), "out");
    let consumer = World::run(seen, world.builder(ledger).identity(instance("source")).effects(sink));
    consumer.seen(50).await;
    assert_eq!(world.broker.drop_connection("ms2m-effects-out"), 1);
    consumer.seen(200).await;
    consumer.stopped().await;
    let mut out = world.admin.consume("out", &ConsumeOptions { prefetch: 1000, from_offset: None, tag: "t".into() }).await.unwrap();
    let mut known = std::collections::BTreeSet::new();
    while let Ok(Ok(delivery)) = tokio::time::timeout(Duration::from_secs(1), out.next()).await {
        let number = text(&delivery.message.body);
        assert_eq!(delivery.message.properties.message_id, Some(format!("orders/{number}/0")));
        known.insert(number);
    }
    assert_eq!(known.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_consumer_waits_for_a_journal_to_go_and_says_so_when_it_does_not() {
    let world = World::new(QueueKind::Classic, false).await;
    let options = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: None };
    world.admin.declare(&journal_name(QUEUE), &options).await.unwrap();
    world.publish(1..=10).await;
    let mut waits = world.start("fresh");
    let gives_up = world.start("other");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(*waits.standing.borrow_and_update(), Standing::Starting);
    assert_eq!(waits.seen.lock().unwrap().len(), 0);
    gives_up.task.abort();
    world.admin.delete(&journal_name(QUEUE)).await.unwrap();
    waits.seen(10).await;
    waits.stopped().await;

    world.admin.declare(&journal_name(QUEUE), &options).await.unwrap();
    let error = world.start("late").ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("ms2m.journal.orders"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_said_at_once_or_after_the_deadline() {
    let world = World::new(QueueKind::Classic, false).await;
    let broker: std::sync::Arc<dyn ms2m_broker::Broker> = std::sync::Arc::new(world.broker.clone());
    let consumer = Consumer::builder(broker, QueueSpec::classic("nothing"), world.ledger()).identity(instance("a")).build().unwrap();
    assert_eq!(consumer.run().await.unwrap_err().kind(), ErrorKind::NotFound);

    world.broker.set_faults(|faults| faults.unauthorized = true);
    assert_eq!(world.start("a").ended().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    world.broker.set_faults(|faults| (faults.unauthorized, faults.unavailable) = (false, true));
    assert_eq!(world.start("a").ended().await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.broker.set_faults(|faults| faults.unavailable = false);

    let mut world = world;
    world.limits = Limits { reconnect_deadline: Duration::from_secs(3), ..world.limits };
    let mut consumer = world.start("a");
    consumer.stands(Standing::Serving).await;
    world.broker.set_faults(|faults| faults.unavailable = true);
    world.broker.drop_connection("ms2m-a");
    let error = consumer.ended().await.unwrap_err();
    assert!(error.to_string().contains("could not be used again"), "{error}");
    assert!(world.builder(world.ledger()).prefetch(0).build().is_err());
    let _ = world.broker.connect("still works").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_during_an_outage_and_while_starting() {
    let world = World::new(QueueKind::Classic, false).await;
    world.broker.set_faults(|faults| faults.unavailable = true);
    let starting = world.start("a");
    sleep(Duration::from_millis(500)).await;
    starting.stopped().await;
    world.broker.set_faults(|faults| faults.unavailable = false);
    let mut running = world.start("a");
    running.stands(Standing::Serving).await;
    world.broker.set_faults(|faults| faults.unavailable = true);
    world.broker.drop_connection("ms2m-a");
    running.stands(Standing::Reconnecting).await;
    running.stopped().await;
}
