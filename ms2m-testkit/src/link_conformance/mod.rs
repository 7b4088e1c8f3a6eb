//! What the protocols rely on at [`ms2m_broker::link`], as a suite that every broker runs.
//!
//! Queues are named with a prefix and deleted at the end, so that a shared broker can be used. Each case panics with what was violated.

mod consuming;
mod lifecycle;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ms2m_broker::link::{
    Broker, Connection, ConsumeOptions, Delivery, LinkResult, Publisher, QueueKind, QueueOptions, Subscription, body_only,
};
use ms2m_broker::message::Message;
use tokio::time::timeout;

/// No single operation may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to try on which broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Queue types that the broker offers.
    pub kinds: Vec<QueueKind>,
    /// Whether it must be able to fence; if not, `Ok(false)` is accepted.
    pub fence: bool,
    /// Begins the names of all queues and connections.
    pub prefix: String,
    /// How long nothing must arrive before it counts as never.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinds: vec![QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream],
            fence: true,
            prefix: "conformance".to_owned(),
            silence: Duration::from_millis(150),
        }
    }
}

/// Runs every case on brokers from `make`.
///
/// # Panics
/// With what was violated.
pub async fn run<B: Broker + ?Sized>(make: impl AsyncFn() -> Arc<B>, options: &Options) {
    for kind in options.kinds.iter().copied() {
        let bench = |case| Bench::new(&make, options, kind, case);
        lifecycle::publishing_keeps_order(bench("publish").await).await;
        lifecycle::unroutable_is_told(bench("unroutable").await).await;
        lifecycle::declaring_twice_is_checked(bench("declare").await).await;
        lifecycle::deleting_ends_consumers(bench("delete").await).await;
        lifecycle::closing_is_final(bench("close").await).await;
        lifecycle::fencing_cuts_off(bench("fence").await).await;
        lifecycle::properties_survive(bench("properties").await).await;
        if kind == QueueKind::Stream {
            streams::readers_are_independent(bench("readers").await).await;
            streams::offsets_are_exact(bench("offsets").await).await;
            streams::following_the_end(bench("follow").await).await;
        } else {
            consuming::prefetch_is_a_window(bench("window").await).await;
            consuming::unacked_returns_in_order(bench("returns").await).await;
            consuming::lost_connections_return_too(bench("lost").await).await;
            consuming::consumers_are_counted(bench("count").await).await;
            consuming::the_next_active_takes_over(bench("sac").await).await;
            consuming::cumulative_acks_survive_the_close(bench("acks").await).await;
        }
    }
    let bench = Bench::new(&make, options, options.kinds[0], "inbox").await;
    lifecycle::inboxes_live_with_their_connection(bench).await;
}

/// One case's queue and the connection it is watched from.
struct Bench {
    broker: Arc<dyn AnyBroker>,
    admin: Arc<dyn Connection>,
    publisher: Box<dyn Publisher>,
    kind: QueueKind,
    queue: String,
    options: Options,
}

/// A broker behind a pointer whose own type does not matter.
#[async_trait::async_trait]
trait AnyBroker: Send + Sync {
    async fn connect(&self, name: &str) -> LinkResult<Arc<dyn Connection>>;
    async fn fence(&self, name: &str) -> LinkResult<bool>;
    async fn inspect(&self, queue: &str) -> LinkResult<Option<ms2m_broker::link::QueueFacts>>;
}

#[async_trait::async_trait]
impl<B: Broker + ?Sized> AnyBroker for Arc<B> {
    async fn connect(&self, name: &str) -> LinkResult<Arc<dyn Connection>> {
        (**self).connect(name).await
    }
    async fn fence(&self, name: &str) -> LinkResult<bool> {
        (**self).fence(name).await
    }
    async fn inspect(&self, queue: &str) -> LinkResult<Option<ms2m_broker::link::QueueFacts>> {
        (**self).inspect(queue).await
    }
}

impl Bench {
    async fn new<B: Broker + ?Sized>(make: &impl AsyncFn() -> Arc<B>, options: &Options, kind: QueueKind, case: &str) -> Self {
        let broker: Arc<dyn AnyBroker> = Arc::new(make().await);
        let queue = format!("{}.{case}.{kind:?}", options.prefix);
        let admin = ok("connect", broker.connect(&format!("{queue}.admin"))).await;
        ok("delete what an earlier run may have left", admin.delete(&queue)).await;
        let publisher = ok("publisher", admin.publisher()).await;
        let bench = Self { broker, admin, publisher, kind, queue, options: options.clone() };
        bench.declare(false).await;
        bench
    }

    fn arguments(&self, single_active_consumer: bool) -> QueueOptions {
        QueueOptions { kind: self.kind, single_active_consumer, bytes_max: None }
    }

    async fn declare(&self, single_active_consumer: bool) {
        ok("declare", self.admin.declare(&self.queue, &self.arguments(single_active_consumer))).await;
    }

    /// The same queue as single active consumer, empty.
    async fn declare_again_with_sac(&self) {
        ok("delete", self.admin.delete(&self.queue)).await;
        self.declare(true).await;
    }

    async fn connect(&self, name: &str) -> Arc<dyn Connection> {
        ok("connect", self.broker.connect(&format!("{}.{name}", self.queue))).await
    }

    async fn put(&mut self, numbers: std::ops::Range<u64>) {
        let mut confirms = Vec::new();
        for number in numbers {
            confirms.push(ok("publish", self.publisher.publish(&self.queue, numbered(number))).await);
        }
        for confirm in confirms {
            ok("confirm", confirm).await;
        }
    }

    async fn consume(&self, connection: &dyn Connection, prefetch: u16, from_offset: Option<u64>) -> Box<dyn Subscription> {
        let options = ConsumeOptions { prefetch, from_offset, tag: format!("{}.tag", self.queue) };
        ok("consume", connection.consume(&self.queue, &options)).await
    }

    /// Waits until a passive look at the queue says so.
    async fn consumers_become(&self, wanted: u32) {
        for _ in 0..400 {
            let status = ok("queue status", self.admin.queue_status(&self.queue)).await;
            if status.is_some_and(|status| status.consumers == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{}: never {wanted} consumers", self.queue);
    }

    async fn nothing_comes(&self, subscription: &mut dyn Subscription, why: &str) {
        if let Ok(delivery) = timeout(self.options.silence, subscription.next()).await {
            panic!("{}: {why}, but there is {delivery:?}", self.queue);
        }
        assert!(subscription.try_next().is_none(), "{}: {why}", self.queue);
    }

    async fn end(self) {
        ok("delete", self.admin.delete(&self.queue)).await;
        self.admin.close().await;
    }
}

fn numbered(number: u64) -> Message {
    body_only(Bytes::from(number.to_string()))
}

fn number(delivery: &Delivery) -> u64 {
    std::str::from_utf8(&delivery.message.body).ok().and_then(|text| text.parse().ok()).expect("a numbered body comes back unaltered")
}

async fn within<R>(what: &str, call: impl Future<Output = R>) -> R {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| panic!("{what} did not end within {PATIENCE:?}"))
}

async fn ok<R>(what: &str, call: impl Future<Output = LinkResult<R>>) -> R {
    within(what, call).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

async fn next(subscription: &mut dyn Subscription) -> Delivery {
    ok("next", subscription.next()).await
}

async fn take(subscription: &mut dyn Subscription, count: u64) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await;
        assert!(deliveries.last().is_none_or(|last| last.tag < delivery.tag), "tags grow on one subscription");
        deliveries.push(delivery);
    }
    deliveries
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(number).collect()
}
