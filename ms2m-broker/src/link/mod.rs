//! The seam to a broker: few operations, each with the guarantee that the protocols need.
//!
//! Implemented by [`crate::rabbitmq`] and by the in-memory broker of `ms2m-testkit`. Nothing here re-connects, re-tries or
//! recovers by itself: a lost connection is an event that the protocols must see.

mod error;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::LinkError;

use crate::message::Message;

/// A result with [`LinkError`].
pub type LinkResult<T> = Result<T, LinkError>;

/// Resolves when the broker has taken responsibility for a published message (publisher confirm).
pub type Confirm = Pin<Box<dyn Future<Output = LinkResult<()>> + Send>>;

/// A broker to connect to.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// The broker's name in reports.
    fn name(&self) -> &'static str;

    /// Opens a connection that shows up at the broker under `name`, which [`fence`](Self::fence) takes.
    ///
    /// # Errors
    /// [`LinkError::Unauthorized`], [`LinkError::Unavailable`].
    async fn connect(&self, name: &str) -> LinkResult<Arc<dyn Connection>>;

    /// Cuts the connections of that name off at the broker. `Ok(true)`: none of them is left. `Ok(false)`: this broker offers no way to do it.
    ///
    /// # Errors
    /// When it is not certain that they are gone.
    async fn fence(&self, name: &str) -> LinkResult<bool>;

    /// What is known about a queue beyond what AMQP tells, for preflight. `None`: this broker offers no way to ask.
    ///
    /// # Errors
    /// [`LinkError::NotFound`], [`LinkError::Unauthorized`], [`LinkError::Unavailable`].
    async fn inspect(&self, queue: &str) -> LinkResult<Option<QueueFacts>>;
}

/// The type of a queue, as declared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueKind {
    /// A classic queue.
    Classic,
    /// A Raft-replicated quorum queue.
    Quorum,
    /// A log.
    Stream,
}

/// What [`Broker::inspect`] tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueFacts {
    /// Its type.
    pub kind: QueueKind,
    /// Whether `x-single-active-consumer` is set.
    pub single_active_consumer: bool,
    /// Names of arguments and policy keys in force that change what consumers get (`max-length`, `message-ttl`, `max-priority` …).
    pub arguments: Vec<String>,
}

/// A passive look at a queue. Counts are hints: no decision may rest on [`ready`](Self::ready).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct QueueStatus {
    /// Messages ready for delivery.
    pub ready: u32,
    /// Consumers on it. A quorum queue with single active consumer counts the active one only, a stream none.
    pub consumers: u32,
}

/// How to declare a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueOptions {
    /// Its type.
    pub kind: QueueKind,
    /// `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// For streams: oldest segments go when the log grows beyond this many bytes.
    pub bytes_max: Option<u64>,
}

/// How to consume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumeOptions {
    /// How many unacknowledged deliveries the broker may have out: the window W.
    pub prefetch: u16,
    /// For streams: the first offset wanted.
    pub from_offset: Option<u64>,
    /// Shown at the broker.
    pub tag: String,
}

/// One connection.
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// Waits until the connection is lost or closed, and says why.
    async fn lost(&self) -> LinkError;

    /// A passive look at a queue, `None` when there is no such queue. A broker that cannot tell now must err, not guess.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`], [`LinkError::Lost`].
    async fn queue_status(&self, queue: &str) -> LinkResult<Option<QueueStatus>>;

    /// Declares a durable queue. One that exists with the same options is fine.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when it exists with other options, or a policy or permission forbids it.
    async fn declare(&self, queue: &str, options: &QueueOptions) -> LinkResult<()>;

    /// Deletes a queue with all that is in it. Missing is `Ok`.
    ///
    /// # Errors
    /// [`LinkError::Refused`], [`LinkError::Lost`].
    async fn delete(&self, queue: &str) -> LinkResult<()>;

    /// Opens a channel to publish on. Messages of one publisher keep their order.
    ///
    /// # Errors
    /// [`LinkError::Lost`].
    async fn publisher(&self) -> LinkResult<Box<dyn Publisher>>;

    /// Consumes with manual acknowledgement, on a channel of its own.
    ///
    /// # Errors
    /// [`LinkError::NotFound`], [`LinkError::Refused`], [`LinkError::Lost`].
    async fn consume(&self, queue: &str, options: &ConsumeOptions) -> LinkResult<Box<dyn Subscription>>;

    /// Declares a queue that lives as long as this connection, and consumes it. Others publish to it by name.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when another connection holds that name.
    async fn inbox(&self, queue: &str) -> LinkResult<Box<dyn Subscription>>;

    /// Closes the connection; what was unacknowledged returns to its queues. Closing twice is fine.
    async fn close(&self);
}

/// Publishes in order, with confirms.
#[async_trait]
pub trait Publisher: fmt::Debug + Send {
    /// Publishes to a queue by its name, persistent and mandatory; to an exchange if the message names one in its
    /// properties. The returned future resolves to [`LinkError::NotFound`] when no queue takes it. Does not wait for the confirm.
    ///
    /// # Errors
    /// [`LinkError::Lost`].
    async fn publish(&mut self, queue: &str, message: Message) -> LinkResult<Confirm>;
}

/// One delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The number to acknowledge by; grows on one subscription.
    pub tag: u64,
    /// For streams: the position in the log.
    pub offset: Option<u64>,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// What was published.
    pub message: Message,
}

/// One consumer on a channel of its own.
#[async_trait]
pub trait Subscription: fmt::Debug + Send {
    /// The next delivery; cancel-safe. `Err` when the channel or connection is gone, or the broker cancelled the consumer
    /// (the queue was deleted): then nothing more comes.
    async fn next(&mut self) -> LinkResult<Delivery>;

    /// The next delivery if it is here already.
    fn try_next(&mut self) -> Option<LinkResult<Delivery>>;

    /// Acknowledges everything up to and including `tag`, in one frame: single acks sent before a close can be dropped by a quorum queue.
    ///
    /// # Errors
    /// [`LinkError::Lost`].
    async fn ack_up_to(&mut self, tag: u64) -> LinkResult<()>;

    /// Closes the channel without a cancel before it (a cancel on a quorum queue reorders) and waits for close-ok.
    /// What is unacknowledged returns to its queue in order.
    ///
    /// # Errors
    /// [`LinkError::Lost`]: then it is closed as well.
    async fn close(self: Box<Self>) -> LinkResult<()>;

    /// For fault tests and the protocol's negative control: `basic.cancel`, keeping the channel and what is unacknowledged on it.
    /// The protocols never call it.
    ///
    /// # Errors
    /// [`LinkError::Lost`].
    async fn cancel(&mut self) -> LinkResult<()>;
}

/// How long a single operation on a broker may take before it counts as [`LinkError::Unavailable`].
pub const OPERATION_DEADLINE: Duration = Duration::from_secs(5);

/// A journal's body for [`Publisher::publish`]: no properties, so that nothing can be dropped in conversion.
#[must_use]
pub fn body_only(body: Bytes) -> Message {
    Message { body, ..Message::default() }
}
