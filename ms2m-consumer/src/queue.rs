//! [`QueueSpec`]: the queue that a consumer works on.

use ms2m_broker::link::QueueKind;

/// A queue as it was declared. The consumer does not declare it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: QueueKind,
    /// Whether it was declared with `x-single-active-consumer`.
    pub single_active_consumer: bool,
}

impl QueueSpec {
    /// A queue of some type.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: QueueKind) -> Self {
        Self { name: name.into(), kind, single_active_consumer: false }
    }

    /// A classic queue.
    #[must_use]
    pub fn classic(name: impl Into<String>) -> Self {
        Self::new(name, QueueKind::Classic)
    }

    /// A quorum queue.
    #[must_use]
    pub fn quorum(name: impl Into<String>) -> Self {
        Self::new(name, QueueKind::Quorum)
    }

    /// A stream: its own journal.
    #[must_use]
    pub fn stream(name: impl Into<String>) -> Self {
        Self::new(name, QueueKind::Stream)
    }

    /// Declared with `x-single-active-consumer`.
    #[must_use]
    pub fn with_single_active_consumer(mut self) -> Self {
        self.single_active_consumer = true;
        self
    }
}
