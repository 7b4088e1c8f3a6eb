//! One server for all tests; each test has queues of its own.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ms2m_broker::link::{
    Broker as _, Confirm, Connection, ConsumeOptions, Delivery, LinkResult, Publisher, QueueKind, QueueOptions, Subscription, body_only,
};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};

/// Far beyond anything seen, on machines that do ten other things.
const PATIENCE: Duration = Duration::from_secs(30);
/// Everything that can be consumed from.
pub(crate) const KINDS: [QueueKind; 3] = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];
/// What keeps a message until it is acknowledged.
pub(crate) const QUEUES: [QueueKind; 2] = [QueueKind::Classic, QueueKind::Quorum];
/// The server's `max_message_size`.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(crate) fn server() -> &'static RabbitMqServer {
    static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let mut options = Options::default();
        options.max_message_bytes = Some(MESSAGE_BYTES_MAX as u64);
        RabbitMqServer::start(&options).expect("a RabbitMQ")
    })
}

pub(crate) fn broker_at(amqp_url: &str, server: &RabbitMqServer) -> RabbitMq {
    let config = RabbitMqConfig::new(amqp_url).and_then(|config| config.with_management(&server.management_url()));
    config.and_then(RabbitMq::new).expect("URLs of the server")
}

pub(crate) fn broker() -> RabbitMq {
    broker_at(&server().amqp_url(), server())
}

pub(crate) async fn connect(name: &str) -> Arc<dyn Connection> {
    ok("connect", broker().connect(name)).await
}

/// Awaits what must succeed.
pub(crate) async fn ok<T>(what: &str, operation: impl Future<Output = LinkResult<T>>) -> T {
    match soon(what, operation).await {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Awaits what must end.
pub(crate) async fn soon<T>(what: &str, operation: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, operation).await.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

pub(crate) const fn queue_of(kind: QueueKind, single_active_consumer: bool) -> QueueOptions {
    QueueOptions { kind, single_active_consumer, bytes_max: None }
}

/// A fresh queue of that name.
pub(crate) async fn declare(link: &dyn Connection, queue: &str, options: &QueueOptions) {
    ok("delete", link.delete(queue)).await;
    ok("declare", link.declare(queue, options)).await;
}

pub(crate) fn numbered(number: u64) -> ms2m_broker::Message {
    body_only(Bytes::copy_from_slice(&number.to_be_bytes()))
}

pub(crate) fn number(delivery: &Delivery) -> u64 {
    u64::from_be_bytes(delivery.message.body[..8].try_into().expect("a numbered message"))
}

/// Publishes without waiting in between, then waits for all confirms.
pub(crate) async fn fill(link: &dyn Connection, queue: &str, numbers: std::ops::Range<u64>) {
    let mut publisher = ok("publisher", link.publisher()).await;
    let mut confirms: Vec<Confirm> = Vec::new();
    for number in numbers {
        confirms.push(ok("publish", publisher.publish(queue, numbered(number))).await);
    }
    for confirm in confirms {
        ok("confirm", confirm).await;
    }
}

pub(crate) async fn publish(publisher: &mut dyn Publisher, queue: &str, number: u64) {
    let confirm = ok("publish", publisher.publish(queue, numbered(number))).await;
    ok("confirm", confirm).await;
}

pub(crate) async fn consume(link: &dyn Connection, queue: &str, prefetch: u16) -> Box<dyn Subscription> {
    consume_from(link, queue, prefetch, None).await
}

pub(crate) async fn consume_from(link: &dyn Connection, queue: &str, prefetch: u16, from_offset: Option<u64>) -> Box<dyn Subscription> {
    let options = ConsumeOptions { prefetch, from_offset, tag: String::new() };
    ok("consume", link.consume(queue, &options)).await
}

pub(crate) async fn take(from: &mut dyn Subscription, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        deliveries.push(ok("delivery", from.next()).await);
    }
    deliveries
}

/// Takes and acknowledges.
pub(crate) async fn drain(from: &mut dyn Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let delivery = ok("delivery", from.next()).await;
        numbers.push(number(&delivery));
        ok("ack", from.ack_up_to(delivery.tag)).await;
    }
    numbers
}

/// Whether nothing more comes.
pub(crate) async fn is_silent(from: &mut dyn Subscription) -> bool {
    tokio::time::timeout(Duration::from_millis(300), from.next()).await.is_err()
}

/// Waits until the broker counts that many consumers. Says how long that took, and how often it was asked.
pub(crate) async fn await_consumers(link: &dyn Connection, queue: &str, count: u32) -> (Duration, u32) {
    let begun = Instant::now();
    for asked in 1.. {
        // "Unavailable" is an answer too: ask again.
        if let Ok(Some(status)) = link.queue_status(queue).await
            && status.consumers == count
        {
            return (begun.elapsed(), asked);
        }
        assert!(begun.elapsed() < PATIENCE, "{queue} never has {count} consumers");
    }
    unreachable!("asked for ever")
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// `median (least .. most) of n`, in milliseconds.
pub(crate) fn spread(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().map_or(f64::NAN, ms);
    format!("{:.2} ms ({:.2} .. {:.2}) of {}", at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)), sorted.len())
}

/// Pairs in the wrong order.
pub(crate) fn inversions(numbers: &[u64]) -> usize {
    numbers.windows(2).filter(|pair| pair[0] > pair[1]).count()
}
