//! Everything the broker knows, behind one lock: connections, queues, and who gets what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{LinkResult, QueueKind, QueueOptions, QueueStatus};
use ms2m_broker::{LinkError, Message};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::consumer::Consumer;
use super::profile::{Faults, Profile, matches};
use super::queue::Queue;

/// A consumer whose end the broker notices only after a delay.
pub(super) type Late = (u64, Duration);

/// Why and when a connection ended.
pub(super) type Loss = Option<(LinkError, Instant)>;

#[derive(Debug)]
pub(super) struct Attached {
    name: String,
    pub(super) consumers: BTreeSet<u64>,
    inboxes: BTreeSet<String>,
    loss: watch::Sender<Loss>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) faults: Faults,
    pub(super) queues: HashMap<String, Queue>,
    pub(super) exchanges: HashMap<String, Arc<Vec<String>>>,
    pub(super) recorded: HashMap<String, Vec<Arc<Message>>>,
    pub(super) rng: StdRng,
    pub(super) consumers: HashMap<u64, Consumer>,
    connections: BTreeMap<u64, Attached>,
    names: HashMap<String, BTreeSet<u64>>,
    ids: u64,
}

impl State {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            faults: Faults::default(),
            queues: HashMap::new(),
            exchanges: HashMap::new(),
            recorded: HashMap::new(),
            rng: StdRng::seed_from_u64(0),
            consumers: HashMap::new(),
            connections: BTreeMap::new(),
            names: HashMap::new(),
            ids: 0,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn connect(&mut self, name: &str) -> LinkResult<(u64, watch::Receiver<Loss>)> {
        if self.faults.unavailable {
            return Err(LinkError::Unavailable("connection refused".to_owned()));
        }
        if self.faults.unauthorized {
            return Err(LinkError::Unauthorized("ACCESS_REFUSED - login was refused".to_owned()));
        }
        let id = self.next_id();
        let (loss, losses) = watch::channel(None);
        let attached = Attached { name: name.to_owned(), consumers: BTreeSet::new(), inboxes: BTreeSet::new(), loss };
        self.connections.insert(id, attached);
        self.names.entry(name.to_owned()).or_default().insert(id);
        Ok((id, losses))
    }

    /// Ends a connection. What is returned is to be finished later by [`end_consumer`](Self::end_consumer).
    pub(super) fn disconnect(&mut self, connection: u64, reason: &LinkError) -> Vec<Late> {
        let Some(attached) = self.connections.remove(&connection) else { return Vec::new() };
        if let Some(same_name) = self.names.get_mut(&attached.name) {
            same_name.remove(&connection);
            if same_name.is_empty() {
                self.names.remove(&attached.name);
            }
        }
        attached.loss.send_replace(Some((reason.clone(), Instant::now())));
        for inbox in &attached.inboxes {
            self.remove_queue(inbox, reason);
        }
        attached.consumers.into_iter().filter_map(|consumer| self.detach(consumer, reason)).collect()
    }

    pub(super) fn connections_named(&self, name: &str) -> Vec<u64> {
        self.names.get(name).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn all_connections(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }

    pub(super) fn declare(&mut self, connection: u64, name: &str, options: &QueueOptions, exclusive: bool) -> LinkResult<()> {
        if matches(&self.faults.refuse_declare, name) {
            return Err(LinkError::Refused(format!("PRECONDITION_FAILED - a policy forbids queue {name:?}")));
        }
        if options.kind == QueueKind::Stream && options.single_active_consumer {
            return Err(LinkError::Refused("PRECONDITION_FAILED - x-single-active-consumer is not valid for streams".to_owned()));
        }
        if let Some(queue) = self.queues.get(name) {
            check_owner(queue, connection, name)?;
            let same = queue.options == *options && queue.owner.is_some() == exclusive;
            let refusal = || LinkError::Refused(format!("PRECONDITION_FAILED - queue {name:?} exists with other arguments"));
            return same.then_some(()).ok_or_else(refusal);
        }
        let id = self.next_id();
        if exclusive {
            self.attached(connection)?.inboxes.insert(name.to_owned());
        }
        self.queues.insert(name.to_owned(), Queue::new(id, options.clone(), exclusive.then_some(connection)));
        Ok(())
    }

    pub(super) fn delete(&mut self, connection: u64, name: &str) -> LinkResult<()> {
        let Some(queue) = self.queues.get(name) else { return Ok(()) };
        check_owner(queue, connection, name)?;
        if let Some(attached) = self.connections.get_mut(&connection) {
            attached.inboxes.remove(name);
        }
        self.remove_queue(name, &LinkError::NotFound(name.to_owned()));
        Ok(())
    }

    fn remove_queue(&mut self, name: &str, reason: &LinkError) {
        let Some(queue) = self.queues.remove(name) else { return };
        for bound in self.exchanges.values_mut().filter(|bound| bound.iter().any(|other| other == name)) {
            Arc::make_mut(bound).retain(|other| other != name);
        }
        for id in queue.consumers {
            if let Some(consumer) = self.consumers.remove(&id) {
                consumer.wire.end(reason.clone());
                self.forget(consumer.connection, id);
            }
        }
    }

    pub(super) fn status(&self, connection: u64, name: &str) -> LinkResult<Option<QueueStatus>> {
        if self.faults.status_unavailable {
            return Err(LinkError::Unavailable(format!("queue {name:?} has no leader now")));
        }
        let Some(queue) = self.queues.get(name) else { return Ok(None) };
        check_owner(queue, connection, name)?;
        // A stream tells its length, and nothing about its readers.
        let consumers = if queue.is_stream() { 0 } else { queue.consumers.len() };
        let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Some(QueueStatus { ready: count(queue.ready()), consumers: count(consumers) }))
    }

    /// The connection, unless it was lost between the caller's check and the lock.
    pub(super) fn attached(&mut self, connection: u64) -> LinkResult<&mut Attached> {
        self.connections.get_mut(&connection).ok_or_else(|| LinkError::Lost("the connection is closed".to_owned()))
    }

    pub(super) fn forget(&mut self, connection: u64, consumer: u64) {
        if let Some(attached) = self.connections.get_mut(&connection) {
            attached.consumers.remove(&consumer);
        }
    }

    /// (connections, consumers, messages in queues, messages held by consumers)
    pub(super) fn sizes(&self) -> (usize, usize, usize, usize) {
        let ready = self.queues.values().map(Queue::ready).sum();
        (self.connections.len(), self.consumers.len(), ready, self.consumers.values().map(Consumer::held).sum())
    }
}

pub(super) fn check_owner(queue: &Queue, connection: u64, name: &str) -> LinkResult<()> {
    match queue.owner {
        Some(owner) if owner != connection => {
            Err(LinkError::Refused(format!("RESOURCE_LOCKED - queue {name:?} is exclusive to another connection")))
        }
        _ => Ok(()),
    }
}
