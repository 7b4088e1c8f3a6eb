//! What lives on one connection to the broker.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{Delivery, LinkResult, OPERATION_DEADLINE, Subscription};
use ms2m_broker::{Broker, Connection, LinkError};
use tokio::time::{sleep, timeout};

use super::journal::JournalLink;

/// First and longest pause between two looks at a queue that should have no consumer.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(20);
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

    /// Begins to wait until nobody consumes from `queue`, and cuts `fence` off first. With a `limit` it is taken as free after
    /// that: outside a migration other consumers may have a right to be there.
    pub(super) fn await_free(&mut self, broker: &Arc<dyn Broker>, queue: &str, fence: Option<String>, limit: Option<Duration>) {
        let (connection, broker, queue) = (Arc::clone(&self.connection), Arc::clone(broker), queue.to_owned());
        self.free = Some(Box::pin(async move {
            if let Some(fence) = fence {
                cut_off(&*broker, &fence).await;
            }
            match limit {
                Some(limit) if timeout(limit, until_free(&*connection, &queue)).await.is_err() => {
                    tracing::warn!(queue, "others consume from this queue: the order of what they still hold is not kept");
                }
                Some(_) => {}
                None => until_free(&*connection, &queue).await,
            }
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

/// An error proves nothing, so looking goes on. The connection's loss ends it from outside.
async fn until_free(connection: &dyn Connection, queue: &str) {
    let mut pause = LOOK_FIRST;
    let mut looks = 0_u32;
    loop {
        match within(connection.queue_status(queue)).await {
            Ok(Some(status)) if status.consumers == 0 => return,
            seen => {
                looks += 1;
                if looks.is_multiple_of(250) {
                    tracing::warn!(queue, ?seen, "still waiting until nobody else consumes: is there a second consumer on this queue?");
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
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
