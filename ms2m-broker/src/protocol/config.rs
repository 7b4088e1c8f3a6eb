//! What a machine must know about its consumer and its queue.

use ms2m_core::Protocol;

use crate::link::QueueKind;
use crate::protocol::record::Determinism;
use crate::protocol::rules::Rules;

/// Settings of a consumer; the same at source and copy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConsumerConfig {
    /// Type of the primary queue, as declared.
    pub queue_kind: QueueKind,
    /// Whether the queue was declared with `x-single-active-consumer`.
    pub single_active_consumer: bool,
    /// Prefetch, and so the largest number of deliveries that the broker may repeat.
    pub window: u16,
    /// What the handler promises.
    pub determinism: Determinism,
    /// The copy says READY when it is at most this many messages behind.
    pub ready_lag: u64,
    /// Streams: how far the copy may run ahead of what the source is known to have applied.
    pub run_ahead: u64,
    /// Which rules hold: all.
    pub rules: Rules,
}

impl ConsumerConfig {
    /// Settings for a queue: window 50, READY within 8 messages, streams run ahead up to 1024.
    #[must_use]
    pub fn new(queue_kind: QueueKind, single_active_consumer: bool) -> Self {
        Self {
            queue_kind,
            single_active_consumer: single_active_consumer && queue_kind != QueueKind::Stream,
            window: 50,
            determinism: Determinism::default(),
            ready_lag: 8,
            run_ahead: 1024,
            rules: Rules::default(),
        }
    }

    /// How far a copy on a stream may run ahead: nothing there records what the source's handler took from outside.
    pub(crate) fn allowed_run_ahead(&self) -> u64 {
        if self.determinism == Determinism::Pure { self.run_ahead } else { 0 }
    }

    /// Streams are their own journal.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        if self.queue_kind == QueueKind::Stream { Protocol::Offset } else { Protocol::Journal }
    }
}
