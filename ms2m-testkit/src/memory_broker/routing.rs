//! Routing: the default exchange, and fan-out to bound queues.

use std::sync::Arc;

use ms2m_broker::link::LinkResult;
use ms2m_broker::{LinkError, Message};
use rand::RngExt as _;

use super::profile::matches;
use super::state::State;

/// What became of a published message, and a queue in which one now waits to be overtaken.
pub(super) struct Routed {
    pub(super) verdict: LinkResult<()>,
    pub(super) waiting: Option<String>,
}

impl State {
    pub(super) fn publish(&mut self, publisher: u64, routing_key: &str, mut message: Message) -> Routed {
        let bytes = message.body.len();
        if bytes > self.profile.message_bytes_max {
            let text = format!("PRECONDITION_FAILED - message size {bytes} is larger than {} bytes", self.profile.message_bytes_max);
            return Routed { verdict: Err(LinkError::Refused(text)), waiting: None };
        }
        routing_key.clone_into(&mut message.properties.routing_key);
        message.properties.delivery_mode = Some(2);
        if message.properties.exchange.is_empty() {
            return Routed { verdict: self.enqueue(routing_key, Arc::new(message)), waiting: None };
        }
        self.fan_out(publisher, &Arc::new(message))
    }

    fn fan_out(&mut self, publisher: u64, message: &Arc<Message>) -> Routed {
        let exchange = &message.properties.exchange;
        let bound = self.exchanges.get(exchange).map(Arc::clone).filter(|queues| !queues.is_empty());
        let Some(bound) = bound else { return Routed { verdict: Err(LinkError::NotFound(exchange.clone())), waiting: None } };
        let mut routed = Routed { verdict: Ok(()), waiting: None };
        for (index, queue) in bound.iter().enumerate() {
            let verdict = if index == 0 || self.faults.fanout_inversion <= 0.0 {
                self.enqueue(queue, Arc::clone(message))
            } else {
                self.enqueue_or_wait(publisher, queue, message, &mut routed.waiting)
            };
            // One queue that rejects makes the broker nack, although the others have the message.
            routed.verdict = routed.verdict.and(verdict);
        }
        routed
    }

    fn enqueue_or_wait(&mut self, publisher: u64, name: &str, message: &Arc<Message>, waiting: &mut Option<String>) -> LinkResult<()> {
        let inverted = self.rng.random_bool(self.faults.fanout_inversion.min(1.0));
        match self.queues.get_mut(name).and_then(|queue| queue.overtaken.take()) {
            Some((other, overtaken)) if other != publisher => {
                self.enqueue(name, Arc::clone(message))?;
                self.enqueue(name, overtaken)
            }
            // Messages of one publisher never overtake each other.
            Some((_, overtaken)) => {
                self.enqueue(name, overtaken)?;
                self.enqueue(name, Arc::clone(message))
            }
            None if inverted => {
                let queue = self.queues.get_mut(name).ok_or_else(|| LinkError::NotFound(name.to_owned()))?;
                queue.overtaken = Some((publisher, Arc::clone(message)));
                *waiting = Some(name.to_owned());
                Ok(())
            }
            None => self.enqueue(name, Arc::clone(message)),
        }
    }

    /// Nobody has overtaken it: it goes on by itself.
    pub(super) fn release(&mut self, name: &str) {
        if let Some((_, message)) = self.queues.get_mut(name).and_then(|queue| queue.overtaken.take()) {
            // The publisher has its confirm already; a queue that is full by now loses a routed message, as real ones do.
            let _ = self.enqueue(name, message);
        }
    }

    fn enqueue(&mut self, name: &str, message: Arc<Message>) -> LinkResult<()> {
        let queue = self.queues.get_mut(name).ok_or_else(|| LinkError::NotFound(name.to_owned()))?;
        let full = !queue.is_stream() && self.profile.queue_messages_max.is_some_and(|max| queue.ready() >= max);
        if full || matches(&self.faults.refuse_publish, name) {
            return Err(LinkError::Refused(format!("queue {name:?} rejects the message (basic.nack)")));
        }
        if let Some(recorded) = self.recorded.get_mut(name) {
            recorded.push(Arc::clone(&message));
        }
        queue.push(message);
        self.dispatch(name);
        Ok(())
    }
}
