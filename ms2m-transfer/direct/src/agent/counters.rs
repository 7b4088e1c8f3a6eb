//! [`Facts`]: what an agent has done and is doing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the agent was made, and what is going on now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections that were closed or told to come later, because there were too many.
    pub connections_refused: u64,
    /// Connections whose handshake failed.
    pub handshakes_failed: u64,
    /// Requests that were answered with an error.
    pub requests_refused: u64,
    /// Transfers going on now.
    pub transfers_open: u64,
    /// Parts that have arrived.
    pub uploads_done: u64,
    /// Uploads that went on where an earlier connection had broken off.
    pub uploads_resumed: u64,
    /// Connections on which an upload broke off; it may have gone on later.
    pub uploads_broken: u64,
    /// Uploads whose bytes were refused: a wrong digest, a wrong length, no room.
    pub uploads_failed: u64,
    /// Bytes of checkpoints received.
    pub bytes_received: u64,
    /// Bytes of checkpoints read by others.
    pub bytes_sent: u64,
    /// Orphans removed.
    pub orphans_removed: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: AtomicU64),* }

        impl Counters {
            pub(super) fn facts(&self) -> Facts {
                Facts { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters!(
    connections,
    connections_open,
    connections_refused,
    handshakes_failed,
    requests_refused,
    transfers_open,
    uploads_done,
    uploads_resumed,
    uploads_broken,
    uploads_failed,
    bytes_received,
    bytes_sent,
    orphans_removed,
);

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Counts one as long as it lives.
#[derive(Debug)]
pub(super) struct Gauge<T>(T, fn(&T) -> &AtomicU64);

impl<T> Gauge<T> {
    pub(super) fn new(of: T, which: fn(&T) -> &AtomicU64) -> Self {
        add(which(&of), 1);
        Self(of, which)
    }
}

impl<T> Drop for Gauge<T> {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}
