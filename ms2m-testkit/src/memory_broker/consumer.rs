//! One consumer on its channel, as the broker sees it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ms2m_broker::link::{Delivery, QueueKind};
use ms2m_broker::{LinkError, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queue::Stored;

/// What the broker and the subscription share outside the broker's lock.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) moved: Notify,
    ended: OnceLock<LinkError>,
}

impl Wire {
    /// Ends it; the first reason stays.
    pub(super) fn end(&self, reason: LinkError) {
        let _ = self.ended.set(reason);
        self.moved.notify_one();
    }

    pub(super) fn ended(&self) -> Option<LinkError> {
        self.ended.get().cloned()
    }
}

/// Why a subscription finds no delivery.
pub(super) enum NotHere {
    Before(Instant),
    Empty,
    Ended(LinkError),
}

#[derive(Debug)]
struct Held {
    tag: u64,
    stored: Stored,
    not_before: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) connection: u64,
    pub(super) queue: Arc<str>,
    pub(super) queue_id: u64,
    pub(super) kind: QueueKind,
    pub(super) wire: Arc<Wire>,
    /// Next offset to read from a stream.
    pub(super) cursor: u64,
    /// No delivery before this (attach, activation).
    pub(super) not_before: Option<Instant>,
    prefetch: usize,
    auto_ack: bool,
    cancelled: bool,
    tags: u64,
    unacked: VecDeque<Held>,
    /// How many of `unacked` the client has taken.
    taken: usize,
    /// Single acks that would be dropped if the channel ended now, oldest first.
    acks_in_flight: VecDeque<Stored>,
}

impl Consumer {
    pub(super) fn new(connection: u64, queue: Arc<str>, queue_id: u64, kind: QueueKind, prefetch: u16, auto_ack: bool) -> Self {
        Self {
            connection,
            queue,
            queue_id,
            kind,
            wire: Arc::new(Wire::default()),
            cursor: 0,
            not_before: None,
            prefetch: if prefetch == 0 { usize::MAX } else { usize::from(prefetch) },
            auto_ack,
            cancelled: false,
            tags: 0,
            unacked: VecDeque::new(),
            taken: 0,
            acks_in_flight: VecDeque::new(),
        }
    }

    pub(super) fn has_credit(&self) -> bool {
        self.unacked.len() < self.prefetch
    }

    pub(super) fn held(&self) -> usize {
        self.unacked.len() + self.acks_in_flight.len()
    }

    /// Sends a message towards the client.
    pub(super) fn deliver(&mut self, stored: Stored, latency: Duration) {
        // A full window with acks in flight means that the oldest of them has just been applied.
        if self.held() >= self.prefetch {
            self.acks_in_flight.pop_front();
        }
        self.tags += 1;
        let arrives = (!latency.is_zero()).then(|| Instant::now() + latency);
        let behind = self.unacked.back().and_then(|held| held.not_before);
        let not_before = arrives.max(self.not_before).max(behind);
        self.unacked.push_back(Held { tag: self.tags, stored, not_before });
        self.wire.moved.notify_one();
    }

    /// Takes the next delivery, if it has arrived.
    pub(super) fn take(&mut self) -> Result<Delivery, NotHere> {
        let Some(held) = self.unacked.get(self.taken) else {
            let cancelled = || LinkError::Lost(format!("the consumer of {:?} was cancelled", self.queue));
            return Err(if self.cancelled { NotHere::Ended(cancelled()) } else { NotHere::Empty });
        };
        if let Some(not_before) = held.not_before.filter(|at| *at > Instant::now()) {
            return Err(NotHere::Before(not_before));
        }
        let delivery = held.delivery(self.kind);
        if self.auto_ack {
            self.unacked.pop_front();
        } else {
            self.taken += 1;
        }
        Ok(delivery)
    }

    /// Settles everything up to `tag`; `false` when the broker does not know that tag.
    pub(super) fn ack_up_to(&mut self, tag: u64, single_acks_dropped: usize) -> bool {
        if self.auto_ack {
            return true;
        }
        let (Some(first), Some(last)) = (self.unacked.front(), self.unacked.back()) else { return false };
        if !(first.tag..=last.tag).contains(&tag) {
            return false;
        }
        // Tags are dense, because they only ever leave at the front.
        let count = usize::try_from(tag - first.tag + 1).unwrap_or(usize::MAX);
        let mut settled = self.unacked.drain(..count);
        if count == 1 && self.kind == QueueKind::Quorum && single_acks_dropped > 0 {
            self.acks_in_flight.extend(settled.by_ref().map(|held| held.stored));
            if self.acks_in_flight.len() > single_acks_dropped {
                self.acks_in_flight.pop_front();
            }
        } else {
            self.acks_in_flight.clear();
        }
        drop(settled);
        self.taken = self.taken.saturating_sub(count);
        true
    }

    /// `basic.cancel`: a quorum queue has messages on their way checked out to this consumer, which nobody gets until the channel ends.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
        if self.kind == QueueKind::Quorum {
            self.taken = self.unacked.len();
        }
        self.wire.moved.notify_one();
    }

    /// Everything that returns to the queue, in message order.
    pub(super) fn into_returned(self) -> impl Iterator<Item = Stored> {
        self.acks_in_flight.into_iter().chain(self.unacked.into_iter().map(|held| held.stored))
    }
}

impl Held {
    fn delivery(&self, kind: QueueKind) -> Delivery {
        let mut message = (*self.stored.message).clone();
        if kind == QueueKind::Quorum && self.stored.returns > 0 {
            message.properties.headers.push(("x-delivery-count".to_owned(), Value::Int(i64::from(self.stored.returns))));
        }
        Delivery {
            tag: self.tag,
            offset: (kind == QueueKind::Stream).then_some(self.stored.position),
            redelivered: self.stored.returns > 0,
            message,
        }
    }
}
