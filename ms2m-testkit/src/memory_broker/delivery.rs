//! Who gets what: consuming, acknowledging, and what happens to messages when a consumer ends.

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::LinkError;
use ms2m_broker::link::{ConsumeOptions, LinkResult, QueueKind};
use tokio::time::Instant;

use super::consumer::{Consumer, Wire};
use super::state::{Late, State, check_owner};

impl State {
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
        self.attached(connection)?.consumers.insert(id);
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
}

fn later(delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| Instant::now() + delay)
}
