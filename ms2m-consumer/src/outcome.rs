//! How a consumer stands, and how it ends.

/// How [`Consumer::run`](crate::Consumer::run) has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A copy owns the queue and goes on from this consumer's state.
    Moved,
    /// This was a copy, and the queue stays with its source: why.
    Discarded(String),
    /// Stopped by its [`StopHandle`](crate::StopHandle).
    Stopped,
}

/// What a consumer is doing: what a readiness probe should ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Not connected for the first time yet, or a migration of its queue has to be decided first.
    Starting,
    /// Another consumer is on its queue, and it is not one of two: it begins when the other has left. Messages that two share are lost for
    /// the state of both. Of a queue with a single active consumer the broker decides that, and of both it is said that they serve.
    Waiting,
    /// It owns the queue.
    Serving,
    /// It owns the queue and stands still at a safe point.
    Parked,
    /// A copy that does not own the queue.
    Replaying,
    /// The broker is lost; it tries again.
    Reconnecting,
    /// It has ended.
    Ended,
}

impl Standing {
    /// Whether messages are being served: the readiness gate of a pod.
    #[must_use]
    pub fn is_serving(self) -> bool {
        matches!(self, Self::Serving)
    }
}
