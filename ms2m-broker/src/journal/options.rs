//! Limits and deadlines of a hand-over.

use std::time::Duration;

use crate::link::QueueKind;

/// Settings of a [`JournalBroker`](super::JournalBroker).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalOptions {
    /// Type of the primary queue; checked against the broker's own word where it gives one.
    pub queue_kind: QueueKind,
    /// Whether the queue was declared with `x-single-active-consumer`; checked likewise.
    pub single_active_consumer: bool,
    /// Largest journal record, in bytes. Must not exceed the broker's message limit (16 MiB from RabbitMQ 4.0).
    pub record_bytes_max: u64,
    /// The journal drops its oldest segments beyond this size, in bytes; a copy that needs them rejects itself.
    pub journal_bytes_max: u64,
    /// How long the source may take to join.
    pub begin_deadline: Duration,
    /// How long an invitation may come back undelivered (the consumer may be reconnecting) before the consumer counts as one without SDK.
    pub invite_deadline: Duration,
    /// How long the source may take to reach a safe point: longer than its slowest message.
    pub park_deadline: Duration,
    /// How long one write to the journal may take to come back.
    pub call_deadline: Duration,
    /// Silence after which [`progress`](ms2m_core::ReplayBroker::progress) writes a sign of life; well below the sources' patience.
    pub silence_max: Duration,
    /// How long both sides may take to leave the journal.
    pub retire_deadline: Duration,
    /// How long [`retire`](ms2m_core::ReplayBroker::retire) waits for the copy's first own message, so that the report knows the gap.
    pub first_message_deadline: Duration,
}

impl JournalOptions {
    /// Ordinary limits for a queue of this type.
    #[must_use]
    pub fn new(queue_kind: QueueKind, single_active_consumer: bool) -> Self {
        Self {
            queue_kind,
            single_active_consumer,
            record_bytes_max: 16 << 20,
            journal_bytes_max: 4 << 30,
            begin_deadline: Duration::from_secs(10),
            invite_deadline: Duration::from_secs(3),
            park_deadline: Duration::from_secs(10),
            call_deadline: Duration::from_secs(10),
            silence_max: Duration::from_secs(5),
            retire_deadline: Duration::from_secs(10),
            first_message_deadline: Duration::from_millis(300),
        }
    }
}
