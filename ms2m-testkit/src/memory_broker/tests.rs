//! The edges of RabbitMQ that decide about exactness, one test each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ms2m_broker::link::{
    Broker, Confirm, Connection, ConsumeOptions, LinkError, Publisher, QueueKind, QueueOptions, QueueStatus, Subscription, body_only,
};
use ms2m_broker::message::{Message, Properties};
use tokio::time::{Instant, sleep};

use super::*;

async fn put(publisher: &mut dyn Publisher, queue: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        publisher.publish(queue, body_only(Bytes::from(n.to_string()))).await.unwrap().await.unwrap();
    }
}

async fn setup(kind: QueueKind, sac: bool) -> (MemoryBroker, Arc<dyn Connection>, Box<dyn Publisher>) {
    let broker = MemoryBroker::default();
    let connection = broker.connect("admin").await.unwrap();
    connection.declare("q", &QueueOptions { kind, single_active_consumer: sac, bytes_max: None }).await.unwrap();
    let publisher = connection.publisher().await.unwrap();
    (broker, connection, publisher)
}

async fn consume(connection: &dyn Connection, prefetch: u16) -> Box<dyn Subscription> {
    connection.consume("q", &ConsumeOptions { prefetch, from_offset: None, tag: String::new() }).await.unwrap()
}

async fn take(consumer: &mut dyn Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(number(&consumer.next().await.unwrap().message));
    }
    numbers
}

fn here(consumer: &mut dyn Subscription) -> Vec<u64> {
    std::iter::from_fn(|| consumer.try_next()).map(|delivery| number(&delivery.unwrap().message)).collect()
}

fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.body).unwrap().parse().unwrap()
}

/// Two consumers hold messages of one queue; the one with the later messages ends first.
async fn interleaved_returns(kind: QueueKind) -> Vec<u64> {
    let (_broker, connection, mut publisher) = setup(kind, false).await;
    let mut first = consume(&*connection, 2).await;
    put(&mut *publisher, "q", 0..2).await;
    assert_eq!(take(&mut *first, 2).await, [0, 1]);
    let mut second = consume(&*connection, 2).await;
    put(&mut *publisher, "q", 2..6).await;
    assert_eq!(take(&mut *second, 2).await, [2, 3]);
    second.close().await.unwrap();
    first.close().await.unwrap();
    let mut third = consume(&*connection, 0).await;
    here(&mut *third)
}

#[tokio::test]
async fn classic_returns_to_the_original_position() {
    assert_eq!(interleaved_returns(QueueKind::Classic).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn quorum_returns_in_the_order_of_return() {
    assert_eq!(interleaved_returns(QueueKind::Quorum).await, [2, 3, 0, 1, 4, 5]);
}

#[tokio::test]
async fn cancel_on_quorum_reorders_and_on_classic_does_not() {
    for (kind, at_next) in [(QueueKind::Quorum, vec![2, 3, 0, 1]), (QueueKind::Classic, vec![2, 3])] {
        let (_broker, connection, mut publisher) = setup(kind, true).await;
        put(&mut *publisher, "q", 0..2).await;
        let mut old = consume(&*connection, 2).await;
        let mut next = consume(&*connection, 10).await;
        old.cancel().await.unwrap();
        put(&mut *publisher, "q", 2..4).await;
        // What was on its way to a cancelled consumer of a quorum queue reaches nobody until the channel ends.
        if kind == QueueKind::Classic {
            assert_eq!(take(&mut *old, 2).await, [0, 1]);
            old.ack_up_to(2).await.unwrap();
        }
        assert!(matches!(old.next().await, Err(LinkError::Lost(_))));
        let mut seen = here(&mut *next);
        old.close().await.unwrap();
        seen.extend(here(&mut *next));
        assert_eq!(seen, at_next, "{kind:?}");
    }
}

#[tokio::test]
async fn an_old_classic_queue_stalls_after_cancel() {
    let (broker, connection, mut publisher) = setup(QueueKind::Classic, true).await;
    broker.set_faults(|faults| faults.classic_cancel_stalls = true);
    let mut old = consume(&*connection, 1).await;
    let mut next = consume(&*connection, 10).await;
    put(&mut *publisher, "q", 0..2).await;
    old.cancel().await.unwrap();
    assert_eq!(here(&mut *next), Vec::<u64>::new());
    put(&mut *publisher, "q", 2..3).await;
    assert_eq!(here(&mut *next), [1, 2]);
}

#[tokio::test]
async fn quorum_drops_single_acks_at_the_end_and_keeps_cumulative_ones() {
    for (kind, single, returned) in
        [(QueueKind::Quorum, true, vec![3, 4, 5, 6]), (QueueKind::Quorum, false, vec![6]), (QueueKind::Classic, true, vec![6])]
    {
        let (broker, connection, mut publisher) = setup(kind, true).await;
        broker.set_faults(|faults| faults.quorum_single_acks_dropped = 3);
        put(&mut *publisher, "q", 0..7).await;
        let mut old = consume(&*connection, 10).await;
        let mut next = consume(&*connection, 10).await;
        for _ in 0..6 {
            let tag = old.next().await.unwrap().tag;
            if single {
                old.ack_up_to(tag).await.unwrap();
            }
        }
        if !single {
            old.ack_up_to(6).await.unwrap();
        }
        old.close().await.unwrap();
        let first = next.next().await.unwrap();
        assert!(first.redelivered);
        assert_eq!([vec![number(&first.message)], here(&mut *next)].concat(), returned);
    }
}

#[tokio::test]
async fn dropped_acks_never_exceed_the_window() {
    let (broker, connection, mut publisher) = setup(QueueKind::Quorum, false).await;
    broker.set_faults(|faults| faults.quorum_single_acks_dropped = 100);
    put(&mut *publisher, "q", 0..50).await;
    let mut old = consume(&*connection, 4).await;
    for tag in 1..=40 {
        assert_eq!(take(&mut *old, 1).await, [tag - 1]);
        old.ack_up_to(tag).await.unwrap();
    }
    old.close().await.unwrap();
    let mut next = consume(&*connection, 0).await;
    assert_eq!(here(&mut *next), (40..50).collect::<Vec<_>>(), "all acks had been applied to make room for deliveries");
}

#[tokio::test(start_paused = true)]
async fn quorum_close_ok_comes_before_the_return() {
    for (kind, late) in [(QueueKind::Quorum, true), (QueueKind::Classic, false)] {
        let (broker, connection, mut publisher) = setup(kind, true).await;
        broker.set_profile(|profile| profile.quorum_return = Duration::from_millis(10));
        put(&mut *publisher, "q", 0..2).await;
        let old = consume(&*connection, 10).await;
        let mut next = consume(&*connection, 10).await;
        old.close().await.unwrap();
        let after_close = QueueStatus { ready: 0, consumers: 1 + u32::from(late) };
        assert_eq!(connection.queue_status("q").await.unwrap(), Some(after_close));
        assert_eq!(next.try_next().is_none(), late);
        if late {
            assert_eq!(take(&mut *next, 2).await, [0, 1]);
        }
        assert_eq!(connection.queue_status("q").await.unwrap().unwrap().consumers, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_active_consumer_takes_over_in_order() {
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        let (broker, connection, mut publisher) = setup(kind, true).await;
        broker.set_profile(|profile| profile.activation = Duration::from_millis(3));
        let owner = broker.connect("owner").await.unwrap();
        let mut old = consume(&*owner, 5).await;
        let mut next = consume(&*connection, 5).await;
        put(&mut *publisher, "q", 0..10).await;
        assert_eq!(take(&mut *old, 3).await, [0, 1, 2]);
        assert!(next.try_next().is_none());
        old.ack_up_to(2).await.unwrap();
        let lost = Instant::now();
        assert!(broker.fence("owner").await.unwrap());
        let first = next.next().await.unwrap();
        assert_eq!((number(&first.message), first.redelivered), (2, true));
        assert_eq!(first.message.properties.header("x-delivery-count").is_some(), kind == QueueKind::Quorum);
        assert_eq!(lost.elapsed(), Duration::from_millis(3));
        assert!(matches!(old.next().await, Err(LinkError::Lost(_))));
        assert!(matches!(owner.lost().await, LinkError::Lost(_)));
        assert!(matches!(owner.publisher().await, Err(LinkError::Lost(_))));
        next.ack_up_to(1).await.unwrap();
        assert_eq!(take(&mut *next, 5).await, [3, 4, 5, 6, 7]);
    }
}

#[tokio::test]
async fn an_unknown_tag_ends_the_channel() {
    let (_broker, connection, mut publisher) = setup(QueueKind::Classic, false).await;
    put(&mut *publisher, "q", 0..2).await;
    let mut consumer = consume(&*connection, 5).await;
    take(&mut *consumer, 2).await;
    consumer.ack_up_to(1).await.unwrap();
    assert!(matches!(consumer.ack_up_to(1).await, Err(LinkError::Lost(_))));
    assert!(matches!(consumer.next().await, Err(LinkError::Lost(_))));
    assert_eq!(here(&mut *consume(&*connection, 5).await), [1]);
}

#[tokio::test]
async fn quorum_drops_what_returns_too_often() {
    let (broker, connection, mut publisher) = setup(QueueKind::Quorum, false).await;
    broker.set_profile(|profile| profile.quorum_delivery_limit = Some(2));
    put(&mut *publisher, "q", 0..1).await;
    for _ in 0..3 {
        let mut consumer = consume(&*connection, 5).await;
        assert_eq!(here(&mut *consumer), [0]);
    }
    assert_eq!(here(&mut *consume(&*connection, 5).await), Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn streams_truncate_whole_and_attach_late() {
    let broker = MemoryBroker::new(Profile { stream_attach: Duration::from_millis(40), ..Profile::default() });
    let connection = broker.connect("c").await.unwrap();
    let options = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: Some(650) };
    connection.declare("q", &options).await.unwrap();
    put(&mut *connection.publisher().await.unwrap(), "q", 0..100).await;
    assert_eq!(broker.census().ready, 9);
    let attached = Instant::now();
    let from_start = ConsumeOptions { prefetch: 4, from_offset: Some(0), tag: String::new() };
    let mut reader = connection.consume("q", &from_start).await.unwrap();
    let first = reader.next().await.unwrap();
    assert_eq!((first.offset, number(&first.message), attached.elapsed()), (Some(91), 91, Duration::from_millis(40)));
    assert_eq!(take(&mut *reader, 3).await, [92, 93, 94]);
    assert!(reader.try_next().is_none());
    reader.ack_up_to(4).await.unwrap();
    assert_eq!(here(&mut *reader), [95, 96, 97, 98]);
    assert!(matches!(connection.consume("q", &ConsumeOptions { prefetch: 0, ..from_start }).await, Err(LinkError::Refused(_))));
    connection.delete("q").await.unwrap();
    assert!(matches!(reader.next().await, Err(LinkError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_queues_and_ends_everything_else() {
    let (broker, connection, mut publisher) = setup(QueueKind::Quorum, true).await;
    broker.set_profile(|profile| profile.confirm = Duration::from_millis(1));
    let mut consumer = consume(&*connection, 5).await;
    let _inbox = connection.inbox("inbox").await.unwrap();
    put(&mut *publisher, "q", 0..3).await;
    take(&mut *consumer, 1).await;
    let unconfirmed: Confirm = publisher.publish("q", body_only(Bytes::from("3"))).await.unwrap();
    broker.restart();
    assert!(matches!(unconfirmed.await, Err(LinkError::Lost(_))));
    assert!(matches!(consumer.next().await, Err(LinkError::Lost(_))));
    assert!(publisher.publish("q", Message::default()).await.is_err());
    assert_eq!(broker.census(), Census { queues: 1, connections: 0, consumers: 0, ready: 4, held: 0 });
    let again = broker.connect("admin").await.unwrap();
    assert_eq!(here(&mut *consume(&*again, 5).await), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_has_arrived_survives_the_connection() {
    let (broker, _connection, mut publisher) = setup(QueueKind::Classic, false).await;
    broker.set_profile(|profile| profile.confirm = Duration::from_millis(1));
    let confirm = publisher.publish("q", Message::default()).await.unwrap();
    sleep(Duration::from_millis(2)).await;
    broker.drop_connection("admin");
    confirm.await.unwrap();
}

#[tokio::test]
async fn faults_and_limits_are_told_apart() {
    let (broker, connection, mut publisher) = setup(QueueKind::Classic, false).await;
    let options = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: None };
    broker.set_faults(|faults| {
        faults.refuse_declare = vec!["journal.*".to_owned()];
        faults.status_unavailable = true;
        faults.fence_unavailable = true;
    });
    assert!(matches!(connection.declare("journal.1", &options).await, Err(LinkError::Refused(_))));
    connection.declare("other", &options).await.unwrap();
    assert!(matches!(connection.declare("other", &QueueOptions { bytes_max: Some(1), ..options }).await, Err(LinkError::Refused(_))));
    assert!(matches!(connection.queue_status("q").await, Err(LinkError::Unavailable(_))));
    assert!(matches!(broker.fence("admin").await, Err(LinkError::Unavailable(_))));
    broker.set_faults(|faults| *faults = Faults { unauthorized: true, ..Faults::default() });
    assert!(matches!(broker.connect("x").await, Err(LinkError::Unauthorized(_))));
    broker.set_profile(|profile| {
        profile.fence = false;
        profile.message_bytes_max = 3;
        profile.queue_messages_max = Some(2);
    });
    assert!(!broker.fence("admin").await.unwrap());
    let too_large = publisher.publish("q", body_only(Bytes::from("1234"))).await.unwrap().await;
    assert!(matches!(too_large, Err(LinkError::Refused(_))));
    put(&mut *publisher, "q", 0..2).await;
    assert!(matches!(publisher.publish("q", Message::default()).await.unwrap().await, Err(LinkError::Refused(_))));
    assert_eq!(broker.inspect("q").await.unwrap().unwrap().arguments, ["max-length"]);
}

#[tokio::test(start_paused = true)]
async fn two_queues_of_one_exchange_are_two_logs() {
    let (broker, connection, _) = setup(QueueKind::Classic, false).await;
    connection.declare("s", &QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None }).await.unwrap();
    broker.bind("x", "q");
    broker.bind("x", "s");
    for queue in ["q", "s"] {
        broker.record(queue);
    }
    broker.set_faults(|faults| faults.fanout_inversion = 0.3);
    let mut publishers = [connection.publisher().await.unwrap(), connection.publisher().await.unwrap()];
    let of_exchange =
        |n: u64| Message { properties: Properties { exchange: "x".to_owned(), ..Properties::default() }, body: Bytes::from(n.to_string()) };
    for n in 0..200 {
        publishers[usize::from(n % 2 == 1)].publish("key", of_exchange(n)).await.unwrap().await.unwrap();
    }
    sleep(Duration::from_millis(5)).await;
    let [primary, mirror] = ["q", "s"].map(|queue| broker.take_recorded(queue).iter().map(|message| number(message)).collect::<Vec<_>>());
    assert_eq!(primary, (0..200).collect::<Vec<_>>());
    assert_ne!(mirror, primary);
    for publisher in 0..2 {
        assert!(mirror.iter().filter(|n| *n % 2 == publisher).is_sorted(), "each publisher's own order is kept");
    }
    assert_eq!(mirror.len(), 200);
    broker.unbind("x", "q");
    connection.delete("s").await.unwrap();
    let unroutable = publishers[0].publish("key", of_exchange(0)).await.unwrap().await;
    assert_eq!(unroutable, Err(LinkError::NotFound("x".to_owned())));
}

#[tokio::test]
async fn nothing_grows_with_history() {
    let (broker, connection, mut publisher) = setup(QueueKind::Quorum, true).await;
    let before = broker.census();
    for round in 0..200 {
        let name = format!("journal.{round}");
        let options = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: Some(1 << 20) };
        connection.declare(&name, &options).await.unwrap();
        let worker = broker.connect("worker").await.unwrap();
        let mut consumer = consume(&*worker, 10).await;
        put(&mut *publisher, "q", 0..20).await;
        put(&mut *publisher, &name, 0..20).await;
        for _ in 0..20 {
            let tag = consumer.next().await.unwrap().tag;
            consumer.ack_up_to(tag).await.unwrap();
        }
        drop(consumer);
        drop(worker);
        connection.delete(&name).await.unwrap();
    }
    assert_eq!(broker.census(), before);
}
