//! How the in-memory broker behaves: its times and limits, and the faults it is asked to show.

use std::time::Duration;

/// Times and limits. The default answers at once and limits only the size of a message.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// A round trip for everything but publishing, acknowledging and receiving.
    pub operation: Duration,
    /// From publishing to the publisher's confirm.
    pub confirm: Duration,
    /// From the queue to the consumer.
    pub delivery: Duration,
    /// From attaching to a stream to its first delivery (RabbitMQ: 27-98 ms).
    pub stream_attach: Duration,
    /// From the end of the active consumer to the first delivery to the next one (RabbitMQ: 1.7-9.3 ms).
    pub activation: Duration,
    /// How much later than close-ok a quorum queue notices that a channel is gone. Until then its messages stay checked out
    /// and its consumer counts.
    pub quorum_return: Duration,
    /// How often a quorum queue returns one message before it drops it (RabbitMQ 4: 20).
    pub quorum_delivery_limit: Option<u32>,
    /// Largest body, in bytes (RabbitMQ 4: 16 MiB).
    pub message_bytes_max: usize,
    /// Ready messages at which a classic or quorum queue rejects what is published.
    pub queue_messages_max: Option<usize>,
    /// Whether [`ms2m_broker::Broker::fence`] works here.
    pub fence: bool,
    /// Whether [`ms2m_broker::Broker::inspect`] works here.
    pub inspect: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            operation: Duration::ZERO,
            confirm: Duration::ZERO,
            delivery: Duration::ZERO,
            stream_attach: Duration::ZERO,
            activation: Duration::ZERO,
            quorum_return: Duration::ZERO,
            quorum_delivery_limit: None,
            message_bytes_max: 16 << 20,
            queue_messages_max: None,
            fence: true,
            inspect: true,
        }
    }
}

impl Profile {
    /// Medians measured on RabbitMQ over loopback.
    #[must_use]
    pub fn rabbitmq() -> Self {
        Self {
            operation: Duration::from_micros(700),
            confirm: Duration::from_micros(950),
            delivery: Duration::from_micros(600),
            stream_attach: Duration::from_millis(40),
            activation: Duration::from_micros(2_500),
            quorum_return: Duration::from_micros(1_500),
            quorum_delivery_limit: Some(20),
            ..Self::default()
        }
    }
}

/// Faults to show. All are off by default.
///
/// Queue patterns are names, or prefixes that end in `*`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Faults {
    /// The broker cannot be connected to.
    pub unavailable: bool,
    /// Credentials are wrong.
    pub unauthorized: bool,
    /// Queues whose declaration a policy forbids.
    pub refuse_declare: Vec<String>,
    /// Queues that reject what is published to them.
    pub refuse_publish: Vec<String>,
    /// Passive looks at a queue fail (a quorum queue without a leader).
    pub status_unavailable: bool,
    /// It cannot be told whether fenced connections are gone.
    pub fence_unavailable: bool,
    /// How many acknowledgements of one message each, the last ones before the end of its channel, a quorum queue drops.
    /// One acknowledgement of several messages makes itself and those before it safe. What is dropped still counts
    /// against the prefetch window, so never more than the window returns.
    pub quorum_single_acks_dropped: usize,
    /// After a bare cancel on a classic queue the next single active consumer gets nothing until something else moves the queue
    /// (RabbitMQ 3.10).
    pub classic_cancel_stalls: bool,
    /// How often a queue bound second or later to an exchange gets a message after the next one of another publisher,
    /// as a probability (RabbitMQ: 0.003). Publishers are routed concurrently, so two queues are two logs.
    pub fanout_inversion: f64,
}

pub(super) fn matches(patterns: &[String], queue: &str) -> bool {
    patterns.iter().any(|pattern| pattern.strip_suffix('*').map_or(pattern == queue, |prefix| queue.starts_with(prefix)))
}
