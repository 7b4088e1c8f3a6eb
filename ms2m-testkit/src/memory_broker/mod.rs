//! RabbitMQ in memory, with its orders and its faults.
//!
//! Classic queues, quorum queues and streams, each with the edges that decide about exactness: what returns where when a
//! channel ends, what a bare cancel leaves behind, when the next single active consumer is served. Edges and figures are
//! those measured on RabbitMQ 3.10 and 4.3. Time is tokio's, so that it works under paused time.
//!
//! Dropping a connection with everything opened on it is what a crash of the client looks like.

mod consumer;
mod delivery;
mod link;
mod profile;

mod publisher;
mod queue;
mod routing;
mod state;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_broker::link::{Broker, Connection, LinkResult, QueueFacts};
use ms2m_broker::{LinkError, Message};

pub use profile::{Faults, Profile};

use link::{MemoryConnection, Shared};
use state::State;

/// A broker in memory; clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct MemoryBroker(Arc<Shared>);

/// What the broker holds now, to show that nothing grows with history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Census {
    /// Queues, inboxes included.
    pub queues: usize,
    /// Open connections.
    pub connections: usize,
    /// Consumers, waiting and cancelled ones included.
    pub consumers: usize,
    /// Messages ready in queues and kept in streams.
    pub ready: usize,
    /// Messages checked out to consumers.
    pub held: usize,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new(Profile::default())
    }
}

impl MemoryBroker {
    /// An empty broker.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self(Shared::new(State::new(profile)))
    }

    /// Changes times and limits from now on.
    pub fn set_profile(&self, change: impl FnOnce(&mut Profile)) {
        change(&mut self.0.lock().profile);
    }

    /// Switches faults on or off.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().faults);
    }

    /// Breaks every connection of that name, as a cut TCP connection does. Says how many there were.
    pub fn drop_connection(&self, name: &str) -> usize {
        let mut state = self.0.lock();
        let connections = state.connections_named(name);
        let reason = LinkError::Lost("the connection was reset".to_owned());
        let late = connections.iter().flat_map(|id| state.disconnect(*id, &reason)).collect();
        drop(state);
        self.0.finish(late);
        connections.len()
    }

    /// Restarts: all connections are lost, durable queues keep their messages, what was unacknowledged returns, inboxes vanish.
    pub fn restart(&self) {
        let mut state = self.0.lock();
        let reason = LinkError::Lost("CONNECTION_FORCED - the broker was shut down".to_owned());
        for id in state.all_connections() {
            // Recovery comes before the first new connection, so nothing is noticed late.
            for (consumer, _) in state.disconnect(id, &reason) {
                state.end_consumer(consumer);
            }
        }
    }

    /// Binds a queue to a fan-out exchange, which begins to exist with its first binding. Messages published with
    /// [`exchange`](ms2m_broker::Properties::exchange) set go to every queue bound to it.
    pub fn bind(&self, exchange: &str, queue: &str) {
        let mut state = self.0.lock();
        let bound = Arc::make_mut(state.exchanges.entry(exchange.to_owned()).or_default());
        if !bound.iter().any(|other| other == queue) {
            bound.push(queue.to_owned());
        }
    }

    /// Removes a binding.
    pub fn unbind(&self, exchange: &str, queue: &str) {
        if let Some(bound) = self.0.lock().exchanges.get_mut(exchange) {
            Arc::make_mut(bound).retain(|other| other != queue);
        }
    }

    /// Records from now on what enters that queue, in order: the oracle of tests. Grows until it is taken.
    pub fn record(&self, queue: &str) {
        self.0.lock().recorded.entry(queue.to_owned()).or_default();
    }

    /// What was recorded since the last call.
    #[must_use]
    pub fn take_recorded(&self, queue: &str) -> Vec<Arc<Message>> {
        self.0.lock().recorded.get_mut(queue).map(std::mem::take).unwrap_or_default()
    }

    /// What it holds now.
    #[must_use]
    pub fn census(&self) -> Census {
        let state = self.0.lock();
        let (connections, consumers, ready, held) = state.sizes();
        Census { queues: state.queues.len(), connections, consumers, ready, held }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn connect(&self, name: &str) -> LinkResult<Arc<dyn Connection>> {
        self.0.round_trip().await;
        let (id, losses) = self.0.lock().connect(name)?;
        Ok(Arc::new(MemoryConnection::new(Arc::clone(&self.0), id, losses)))
    }

    async fn fence(&self, name: &str) -> LinkResult<bool> {
        self.0.round_trip().await;
        {
            let state = self.0.lock();
            if state.faults.fence_unavailable || state.faults.unavailable {
                return Err(LinkError::Unavailable(format!("it is not certain that the connections named {name:?} are gone")));
            }
            if !state.profile.fence {
                return Ok(false);
            }
        }
        self.drop_connection(name);
        Ok(true)
    }

    async fn inspect(&self, queue: &str) -> LinkResult<Option<QueueFacts>> {
        self.0.round_trip().await;
        let state = self.0.lock();
        if !state.profile.inspect {
            return Ok(None);
        }
        let found = state.queues.get(queue).ok_or_else(|| LinkError::NotFound(queue.to_owned()))?;
        let mut arguments = Vec::new();
        if found.options.bytes_max.is_some() {
            arguments.push("max-length-bytes".to_owned());
        }
        if state.profile.queue_messages_max.is_some() && !found.is_stream() {
            arguments.push("max-length".to_owned());
        }
        let (kind, single_active_consumer) = (found.options.kind, found.options.single_active_consumer);
        Ok(Some(QueueFacts { kind, single_active_consumer, arguments }))
    }
}
