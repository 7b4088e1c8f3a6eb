//! [`Consumer`]: a consumer that is ready to run.

use std::fmt;
use std::sync::Arc;

use ms2m_broker::Broker;
use ms2m_core::Result;
use tokio::sync::watch;

use crate::builder::ConsumerBuilder;
use crate::effect::EffectSink;
use crate::handler::Handler;
use crate::host::{Host, Setup};
use crate::outcome::{Outcome, Standing};
use crate::queue::QueueSpec;
use crate::snapshot::Snapshot;
use crate::snapshot_sink::SnapshotSink;

/// A consumer with its handler.
pub struct Consumer<H> {
    setup: Setup,
    handler: H,
    restored: Option<Snapshot>,
    sink: Box<dyn EffectSink>,
    snapshots: Option<Box<dyn SnapshotSink>>,
    stop: Arc<watch::Sender<bool>>,
    standing: Arc<watch::Sender<Standing>>,
}

impl<H> fmt::Debug for Consumer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl<H: Handler> Consumer<H> {
    /// Everything that can be chosen about a consumer of `queue`.
    pub fn builder(broker: Arc<dyn Broker>, queue: QueueSpec, handler: H) -> ConsumerBuilder<H> {
        ConsumerBuilder::new(broker, queue, handler)
    }

    pub(crate) fn new(
        setup: Setup,
        handler: H,
        restored: Option<Snapshot>,
        sink: Box<dyn EffectSink>,
        snapshots: Option<Box<dyn SnapshotSink>>,
    ) -> Self {
        let (stop, standing) = (Arc::new(watch::Sender::new(false)), Arc::new(watch::Sender::new(Standing::Starting)));
        Self { setup, handler, restored, sink, snapshots, stop, standing }
    }

    /// What stops it in good order; it outlives [`run`](Self::run).
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.stop))
    }

    /// What it is doing, for readiness probes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Consumes until it is moved, discarded or stopped. Must be called on a tokio runtime with time and, in production, I/O.
    ///
    /// Dropping the future is what a crash looks like: nothing is lost, messages and effects of the last window may come again.
    ///
    /// # Errors
    /// When the broker could not be reached within the limits, effects could not be let out, or consuming could do harm. The text
    /// says what to do. What was not acknowledged is delivered to the next consumer.
    pub fn run(self) -> impl Future<Output = Result<Outcome>> + Send {
        let Self { setup, handler, restored, sink, snapshots, stop, standing } = self;
        async move { Host::new(setup, handler, restored, sink, snapshots, stop.subscribe(), standing)?.run().await }
    }
}

/// Stops a consumer in good order: it finishes its message, lets effects out, acknowledges, and closes.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl StopHandle {
    /// Asks for it. [`Consumer::run`] then returns [`Outcome::Stopped`].
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
