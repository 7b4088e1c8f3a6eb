//! What lives on one connection to the broker.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{Delivery, LinkResult, OPERATION_DEADLINE, Subscription};
use ms2m_broker::protocol::journal_name;
use ms2m_broker::{Broker, Connection, LinkError};
use tokio::time::{Instant, sleep, timeout};

use super::journal::JournalLink;

/// First and longest pause between two looks at a queue that should have no consumer: in a migration, for which somebody waits, and outside one.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(20);
const LOOK_IDLE_MAX: Duration = Duration::from_millis(200);
/// Longer than a queue has no consumer while its migration goes well.
const ABANDONED: Duration = Duration::from_secs(30);
/// When it is said that somebody is waited for; again after as long as that, up to the second.
const SAY_FIRST: Duration = Duration::from_secs(5);
const SAY_AGAIN_MAX: Duration = Duration::from_mins(5);
/// Pause before a fence that failed is tried again, and how often it is.
const FENCE_PAUSE: Duration = Duration::from_millis(500);
const FENCE_ATTEMPTS: u32 = 20;

type Watch<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The connection with everything on it.
pub(super) struct Link {
    pub(super) connection: Arc<dyn Connection>,
    pub(super) lost: Watch<LinkError>,
    pub(super) inbox: Box<dyn Subscription>,
    pub(super) queue: Option<Box<dyn Subscription>>,
    pub(super) journal: Option<JournalLink>,
    /// Resolves when the queue has no consumer.
    pub(super) free: Option<Watch<()>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(connection: Arc<dyn Connection>, inbox: Box<dyn Subscription>, journal: Option<JournalLink>) -> Self {
        let watched = Arc::clone(&connection);
        Self { connection, lost: Box::pin(async move { watched.lost().await }), inbox, queue: None, journal, free: None }
    }

    /// Begins to wait until `queue` is free, and cuts `fence` off first.
    pub(super) fn await_free(&mut self, broker: &Arc<dyn Broker>, queue: &str, fence: Option<String>, journal: JournalBlocks) {
        let (connection, broker, queue) = (Arc::clone(&self.connection), Arc::clone(broker), queue.to_owned());
        self.free = Some(Box::pin(async move {
            if let Some(fence) = fence {
                cut_off(&*broker, &fence).await;
            }
            until_free(&*connection, &queue, journal).await;
        }));
    }

    /// Ends the connection in good order, as far as the broker answers.
    pub(super) async fn close(self) {
        if timeout(OPERATION_DEADLINE, self.connection.close()).await.is_err() {
            tracing::warn!("the broker has not answered a close; the connection is dropped");
        }
    }
}

/// A fence that fails again and again is no better than a broker that has none: then the looks at the queue have to do.
async fn cut_off(broker: &dyn Broker, name: &str) {
    for _ in 0..FENCE_ATTEMPTS {
        let Err(error) = within(broker.fence(name)).await else { return };
        tracing::warn!(%error, name, "a connection could not be cut off; trying again");
        sleep(FENCE_PAUSE).await;
    }
}

/// For how long a journal keeps a consumer from its queue. While a queue moves, it has no consumer between its two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum JournalBlocks {
    /// It decides about this consumer, too, which has read there that the queue is its own.
    Never,
    /// Others may be moving the queue, or nobody has removed it.
    UntilAbandoned,
    /// As above, and with no state this consumer is the last one that may have the queue.
    UntilRemoved,
}

impl JournalBlocks {
    /// After how long without a consumer it is no obstacle any more.
    fn abandoned_after(self) -> Option<Duration> {
        match self {
            Self::Never => Some(Duration::ZERO),
            Self::UntilAbandoned => Some(ABANDONED),
            Self::UntilRemoved => None,
        }
    }
}

/// An error proves nothing, so looking goes on. The connection's loss ends it from outside.
async fn until_free(connection: &dyn Connection, queue: &str, journal: JournalBlocks) {
    let pause_max = if journal == JournalBlocks::Never { LOOK_MAX } else { LOOK_IDLE_MAX };
    let (began, mut pause, mut say_at, mut alone_since) = (Instant::now(), LOOK_FIRST, SAY_FIRST, None);
    loop {
        if is_alone(connection, queue).await {
            let since = *alone_since.get_or_insert_with(Instant::now);
            if journal.abandoned_after().is_some_and(|after| since.elapsed() >= after) || is_settled(connection, queue).await {
                return;
            }
        } else {
            alone_since = None;
        }
        if began.elapsed() >= say_at {
            let (waits_s, others) = (began.elapsed().as_secs(), alone_since.is_none());
            tracing::warn!(queue, waits_s, others, "still waiting until nobody else consumes from this queue and no migration moves it");
            say_at = began.elapsed() + say_at.min(SAY_AGAIN_MAX);
        }
        sleep(pause).await;
        pause = (pause * 2).min(pause_max);
    }
}

pub(super) async fn is_alone(connection: &dyn Connection, queue: &str) -> bool {
    matches!(within(connection.queue_status(queue)).await, Ok(Some(status)) if status.consumers == 0)
}

/// No migration is under way, and none has ended since nobody was seen to consume.
async fn is_settled(connection: &dyn Connection, queue: &str) -> bool {
    matches!(within(connection.queue_status(&journal_name(queue))).await, Ok(None)) && is_alone(connection, queue).await
}

/// An operation with its deadline.
pub(super) async fn within<T>(operation: impl Future<Output = LinkResult<T>>) -> LinkResult<T> {
    timeout(OPERATION_DEADLINE, operation)
        .await
        .unwrap_or_else(|_| Err(LinkError::Unavailable(format!("no answer within {} s", OPERATION_DEADLINE.as_secs()))))
}

/// The next delivery of a subscription that may not be there; cancel-safe.
pub(super) async fn next_of(subscription: &mut Option<Box<dyn Subscription>>) -> LinkResult<Delivery> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
