//! [`ConsumerBuilder`]: everything that can be chosen about a consumer.

use std::fmt;
use std::sync::Arc;

use ms2m_broker::Broker;
use ms2m_broker::link::QueueKind;
use ms2m_broker::protocol::ConsumerConfig;
use ms2m_core::{Clock, Error, ErrorKind, Result, SystemClock};

use crate::consumer::Consumer;
use crate::effect::{EffectSink, NoEffects};
use crate::handler::Handler;
use crate::host::Setup;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::queue::QueueSpec;
use crate::snapshot::Snapshot;
use crate::snapshot_sink::SnapshotSink;

/// Makes a [`Consumer`].
#[must_use]
pub struct ConsumerBuilder<H> {
    broker: Arc<dyn Broker>,
    queue: QueueSpec,
    handler: H,
    identity: Identity,
    prefetch: u16,
    ready_lag: Option<u64>,
    sink: Box<dyn EffectSink>,
    snapshots: Option<Box<dyn SnapshotSink>>,
    restored: Option<Snapshot>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl<H> fmt::Debug for ConsumerBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerBuilder").field("queue", &self.queue).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<H: Handler> ConsumerBuilder<H> {
    pub(crate) fn new(broker: Arc<dyn Broker>, queue: QueueSpec, handler: H) -> Self {
        Self {
            broker,
            queue,
            handler,
            identity: Identity::hostname(),
            prefetch: 50,
            ready_lag: None,
            sink: Box::new(NoEffects),
            snapshots: None,
            restored: None,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }

    /// Which running consumer this is. Default: [`Identity::hostname`].
    pub fn identity(mut self, identity: impl Into<Identity>) -> Self {
        self.identity = identity.into();
        self
    }

    /// How many unacknowledged messages the broker may have out, 1 to 65 535. Default: 50.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// As a copy: at how many messages behind its source it says that it is ready.
    pub fn ready_lag(mut self, messages: u64) -> Self {
        self.ready_lag = Some(messages);
        self
    }

    /// Where effects go. Default: [`NoEffects`].
    pub fn effects(mut self, sink: impl EffectSink) -> Self {
        self.sink = Box::new(sink);
        self
    }

    /// Where snapshots go when a controller parks this consumer. Default: nowhere, it is checkpointed from outside.
    pub fn snapshots(mut self, sink: impl SnapshotSink) -> Self {
        self.snapshots = Some(Box::new(sink));
        self
    }

    /// Starts as a copy with the state of this snapshot.
    pub fn restored(mut self, snapshot: Snapshot) -> Self {
        self.restored = Some(snapshot);
        self
    }

    /// Where time comes from. Default: the machine's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Deadlines and sizes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The consumer, ready to run.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for contradictions and for a snapshot of another queue; what [`Handler::restore`] says.
    pub fn build(mut self) -> Result<Consumer<H>> {
        if self.prefetch == 0 {
            return Err(Error::fatal(ErrorKind::Invalid, "a prefetch of 0 means no limit; 1 to 65535 are accepted"));
        }
        if self.queue.single_active_consumer && self.queue.kind == QueueKind::Stream {
            return Err(Error::fatal(ErrorKind::Invalid, "streams have no single active consumer").with("queue", &self.queue.name));
        }
        if let Some(snapshot) = &self.restored {
            if snapshot.queue != self.queue.name {
                let text = "the snapshot was taken on another queue";
                return Err(Error::fatal(ErrorKind::Invalid, text).with("taken_on", &snapshot.queue).with("queue", &self.queue.name));
            }
            if snapshot.migration().is_none() {
                return Err(Error::fatal(ErrorKind::Invalid, "the snapshot was not taken for a migration"));
            }
            self.handler.restore(&snapshot.state)?;
        }
        let mut config = ConsumerConfig::new(self.queue.kind, self.queue.single_active_consumer);
        config.window = self.prefetch;
        config.determinism = self.handler.determinism();
        config.ready_lag = self.ready_lag.unwrap_or(config.ready_lag);
        let Self { broker, queue, handler, identity, sink, snapshots, restored, clock, limits, .. } = self;
        let setup = Setup { broker, queue, config, identity, clock, limits };
        Ok(Consumer::new(setup, handler, restored, sink, snapshots))
    }
}
