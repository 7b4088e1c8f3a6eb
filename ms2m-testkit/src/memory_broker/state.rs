//! Everything the broker knows, behind one lock: connections, queues, and who gets what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{ConsumeOptions, LinkResult, QueueKind, QueueOptions, QueueStatus};
use ms2m_broker::{LinkError, Message};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::consumer::{Consumer, Wire};
use super::profile::{Faults, Profile, matches};
use super::queue::Queue;

/// A consumer whose end the broker notices only after a delay.
pub(super) type Late = (u64, Duration);

/// Why and when a connection ended.
pub(super) type Loss = Option<(LinkError, Instant)>;

#[derive(Debug)]
struct Attached {
    name: String,
    consumers: BTreeSet<u64>,
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
    consumers: HashMap<u64, Consumer>,
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

    pub(super) fn consume(
        &mut self,
        connection: u64,
        name: &str,
        options: &ConsumeOptions,
        auto_ack: bool,
    ) -> LinkResult<(u64, Arc<Wire>)> {
        let id = self.next_id();
        self.attached(connection)?;
        let queue = self.queues.get_mut(name).ok_or_else(|| LinkError::NotFound(name.to_owned()))?;
        check_owner(queue, connection, name)?;
        if queue.is_stream() && options.prefetch == 0 {
            return Err(LinkError::Refused("PRECONDITION_FAILED - consumer prefetch count is not set for a stream".to_owned()));
        }
        let mut consumer = Consumer::new(connection, name.into(), queue.id, queue.options.kind, options.prefetch, auto_ack);
        if queue.is_stream() {
            consumer.cursor = queue.cursor(options.from_offset);
            consumer.not_before = later(self.profile.stream_attach);
        }
        queue.consumers.push_back(id);
        let wire = Arc::clone(&consumer.wire);
        self.consumers.insert(id, consumer);
        if let Some(attached) = self.connections.get_mut(&connection) {
            attached.consumers.insert(id);
        }
        self.dispatch(name);
        Ok((id, wire))
    }

    pub(super) fn consumer(&mut self, id: u64) -> Option<&mut Consumer> {
        self.consumers.get_mut(&id)
    }

    /// Settles deliveries. An unknown tag is the end of the channel, as at the real broker.
    pub(super) fn ack_up_to(&mut self, id: u64, tag: u64) -> LinkResult<()> {
        let dropped = self.faults.quorum_single_acks_dropped;
        let Some(consumer) = self.consumers.get_mut(&id) else { return Ok(()) };
        if !consumer.ack_up_to(tag, dropped) {
            let reason = LinkError::Lost(format!("PRECONDITION_FAILED - unknown delivery tag {tag}"));
            consumer.wire.end(reason.clone());
            self.end_consumer(id);
            return Err(reason);
        }
        let queue = Arc::clone(&consumer.queue);
        self.dispatch(&queue);
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: u64) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.cancel();
        let (queue, kind) = (Arc::clone(&consumer.queue), consumer.kind);
        self.leave(&queue, id);
        if kind != QueueKind::Classic || !self.faults.classic_cancel_stalls {
            self.dispatch(&queue);
        }
    }

    /// Ends a channel for its client, and for the queue at once or as late as answered.
    pub(super) fn detach(&mut self, id: u64, reason: &LinkError) -> Option<Late> {
        let consumer = self.consumers.get(&id)?;
        consumer.wire.end(reason.clone());
        if consumer.kind == QueueKind::Quorum && !self.profile.quorum_return.is_zero() {
            return Some((id, self.profile.quorum_return));
        }
        self.end_consumer(id);
        None
    }

    /// The queue notices that a consumer's channel is gone: returns and activation of the next are one step.
    pub(super) fn end_consumer(&mut self, id: u64) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        self.forget(consumer.connection, id);
        let name = Arc::clone(&consumer.queue);
        let limit = self.profile.quorum_delivery_limit;
        if let Some(queue) = self.queues.get_mut(&*name).filter(|queue| queue.id == consumer.queue_id) {
            consumer.into_returned().for_each(|stored| queue.give_back(stored, limit));
            self.leave(&name, id);
            self.dispatch(&name);
        }
    }

    /// The connection, unless it was lost between the caller's check and the lock.
    fn attached(&mut self, connection: u64) -> LinkResult<&mut Attached> {
        self.connections.get_mut(&connection).ok_or_else(|| LinkError::Lost("the connection is closed".to_owned()))
    }

    fn forget(&mut self, connection: u64, consumer: u64) {
        if let Some(attached) = self.connections.get_mut(&connection) {
            attached.consumers.remove(&consumer);
        }
    }

    fn leave(&mut self, name: &str, id: u64) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let was_active = queue.options.single_active_consumer && queue.consumers.front() == Some(&id);
        queue.consumers.retain(|other| *other != id);
        if was_active && let Some(next) = queue.consumers.front().and_then(|next| self.consumers.get_mut(next)) {
            next.not_before = next.not_before.max(later(self.profile.activation));
        }
    }

    /// Gives ready messages to whoever may have them.
    pub(super) fn dispatch(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let latency = self.profile.delivery;
        if queue.is_stream() {
            for id in &queue.consumers {
                let Some(consumer) = self.consumers.get_mut(id) else { continue };
                while let Some(stored) = consumer.has_credit().then(|| queue.read(consumer.cursor)).flatten() {
                    consumer.cursor = stored.position + 1;
                    consumer.deliver(stored, latency);
                }
            }
            return;
        }
        while queue.ready() > 0 {
            let candidates = if queue.options.single_active_consumer { 1 } else { queue.consumers.len() };
            let found = queue.consumers.iter().take(candidates).position(|id| self.consumers.get(id).is_some_and(Consumer::has_credit));
            let Some(index) = found else { return };
            let consumer = self.consumers.get_mut(&queue.consumers[index]);
            let (Some(consumer), Some(stored)) = (consumer, queue.pop()) else { return };
            consumer.deliver(stored, latency);
            if candidates > 1 {
                // Round robin; of a single active consumer the place in the line is its claim.
                queue.consumers.rotate_left(index + 1);
            }
        }
    }

    /// (connections, consumers, messages in queues, messages held by consumers)
    pub(super) fn sizes(&self) -> (usize, usize, usize, usize) {
        let ready = self.queues.values().map(Queue::ready).sum();
        (self.connections.len(), self.consumers.len(), ready, self.consumers.values().map(Consumer::held).sum())
    }
}

fn check_owner(queue: &Queue, connection: u64, name: &str) -> LinkResult<()> {
    match queue.owner {
        Some(owner) if owner != connection => {
            Err(LinkError::Refused(format!("RESOURCE_LOCKED - queue {name:?} is exclusive to another connection")))
        }
        _ => Ok(()),
    }
}

fn later(delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| Instant::now() + delay)
}
