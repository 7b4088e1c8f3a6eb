//! The broker's seam: connections over the shared state.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::LinkError;
use ms2m_broker::link::{Connection, ConsumeOptions, LinkResult, Publisher, QueueKind, QueueOptions, QueueStatus, Subscription};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::publisher::MemoryPublisher;
use super::state::{Late, Loss, State};
use super::subscription::MemorySubscription;

pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets queues notice the ends of channels when it is time.
    pub(super) fn finish(self: &Arc<Self>, late: Vec<Late>) {
        for (consumer, delay) in late {
            self.after(delay, move |state| state.end_consumer(consumer));
        }
    }

    pub(super) fn after(self: &Arc<Self>, delay: Duration, act: impl FnOnce(&mut State) + Send + 'static) {
        let shared = Arc::clone(self);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(delay).await;
                act(&mut shared.lock());
            })),
            // Dropped outside a runtime: nobody can wait any more.
            Err(_) => act(&mut self.lock()),
        }
    }

    pub(super) async fn round_trip(&self) {
        let operation = self.lock().profile.operation;
        if !operation.is_zero() {
            sleep(operation).await;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBroker")
    }
}

/// Lives as long as anything uses the connection; then the connection ends.
#[derive(Debug)]
pub(super) struct Cable {
    pub(super) shared: Arc<Shared>,
    id: u64,
    pub(super) losses: watch::Receiver<Loss>,
}

impl Cable {
    pub(super) fn check(&self) -> LinkResult<()> {
        self.losses.borrow().as_ref().map_or(Ok(()), |(reason, _)| Err(reason.clone()))
    }

    pub(super) async fn round_trip(&self) -> LinkResult<()> {
        self.shared.round_trip().await;
        self.check()
    }

    fn disconnect(&self, reason: &str) {
        let late = self.shared.lock().disconnect(self.id, &LinkError::Lost(reason.to_owned()));
        self.shared.finish(late);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.disconnect("the connection was dropped");
    }
}

#[derive(Debug)]
pub(super) struct MemoryConnection(Arc<Cable>);

impl MemoryConnection {
    pub(super) fn new(shared: Arc<Shared>, id: u64, losses: watch::Receiver<Loss>) -> Self {
        Self(Arc::new(Cable { shared, id, losses }))
    }

    fn subscribe(&self, queue: &str, options: &ConsumeOptions, auto_ack: bool) -> LinkResult<Box<dyn Subscription>> {
        let (id, wire) = self.0.shared.lock().consume(self.0.id, queue, options, auto_ack)?;
        Ok(Box::new(MemorySubscription { cable: Arc::clone(&self.0), id, wire }))
    }
}

#[async_trait]
impl Connection for MemoryConnection {
    async fn lost(&self) -> LinkError {
        let mut losses = self.0.losses.clone();
        match losses.wait_for(Option::is_some).await.map(|loss| loss.clone()) {
            Ok(Some((reason, _))) => reason,
            _ => LinkError::Lost("the broker is gone".to_owned()),
        }
    }

    async fn queue_status(&self, queue: &str) -> LinkResult<Option<QueueStatus>> {
        self.0.round_trip().await?;
        self.0.shared.lock().status(self.0.id, queue)
    }

    async fn declare(&self, queue: &str, options: &QueueOptions) -> LinkResult<()> {
        self.0.round_trip().await?;
        self.0.shared.lock().declare(self.0.id, queue, options, false)
    }

    async fn delete(&self, queue: &str) -> LinkResult<()> {
        self.0.round_trip().await?;
        self.0.shared.lock().delete(self.0.id, queue)
    }

    async fn publisher(&self) -> LinkResult<Box<dyn Publisher>> {
        self.0.round_trip().await?;
        let id = self.0.shared.lock().next_id();
        Ok(Box::new(MemoryPublisher { cable: Arc::clone(&self.0), id }))
    }

    async fn consume(&self, queue: &str, options: &ConsumeOptions) -> LinkResult<Box<dyn Subscription>> {
        self.0.round_trip().await?;
        self.subscribe(queue, options, false)
    }

    async fn inbox(&self, queue: &str) -> LinkResult<Box<dyn Subscription>> {
        self.0.round_trip().await?;
        let options = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
        self.0.shared.lock().declare(self.0.id, queue, &options, true)?;
        self.subscribe(queue, &ConsumeOptions { prefetch: 0, from_offset: None, tag: queue.to_owned() }, true)
    }

    async fn close(&self) {
        self.0.shared.round_trip().await;
        self.0.disconnect("closed by this side");
    }
}
