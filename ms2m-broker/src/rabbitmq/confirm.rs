//! Which message a confirm is about.
//!
//! RabbitMQ sends `basic.return` for a message that no queue took, and later its ack. lapin hands the returned message to
//! whichever confirm it completes next: with several on the way that can be an earlier message, or with one ack for many any of
//! them, and the message that got lost would look confirmed. So the confirms of a channel are looked at together. A returned
//! message is matched by its queue and body to the one it is, and no confirm is told before all of its ack frame are in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::{Channel, Confirmation};

use super::error::{of_queue, within};
use crate::link::{Confirm, LinkError, LinkResult, OPERATION_DEADLINE};

type Publishing = BoxFuture<'static, lapin::Result<Confirmation>>;
type Numbered = BoxFuture<'static, (u64, lapin::Result<Confirmation>)>;

/// The confirms of one channel.
#[derive(Debug)]
pub(super) struct Confirms {
    next: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channel: Channel,
    state: Mutex<State>,
    /// Woken by lapin; wakes who looks for all.
    lead: Arc<Lead>,
}

#[derive(Debug, Default)]
struct State {
    publishing: FuturesUnordered<Numbered>,
    sent: BTreeMap<u64, Sent>,
}

/// A message whose fate somebody waits for.
#[derive(Debug)]
struct Sent {
    queue: String,
    body: Bytes,
    returned: bool,
    outcome: Option<LinkResult<()>>,
    waker: Option<Waker>,
}

/// Of all who wait one is woken, so that many waiting costs no more than few. It tells the others.
#[derive(Debug, Default)]
struct Lead {
    waiter: Mutex<Option<(u64, Waker)>>,
    /// Set by every wake, so that a look knows whether there is more to see.
    woken: AtomicBool,
}

impl Wake for Lead {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if let Some((_, waker)) = &*locked(&self.waiter) {
            waker.wake_by_ref();
        }
    }
}

impl Confirms {
    pub(super) fn new(channel: Channel) -> Self {
        Self { next: 0, shared: Arc::new(Shared { channel, state: Mutex::default(), lead: Arc::default() }) }
    }

    /// Takes a publish that lapin has been handed already.
    pub(super) fn expect(&mut self, queue: &str, body: Bytes, publishing: Publishing) -> Confirm {
        let number = self.next;
        self.next += 1;
        let mut state = locked(&self.shared.state);
        state.sent.insert(number, Sent { queue: queue.into(), body, returned: false, outcome: None, waker: None });
        state.publishing.push(publishing.map(move |result| (number, result)).boxed());
        drop(state);
        let waiter = Waiter { number, shared: Arc::clone(&self.shared) };
        Box::pin(async move { within(OPERATION_DEADLINE, "basic.publish", poll_fn(|cx| waiter.poll(cx))).await? })
    }
}

/// One who waits. Gone, it takes its message's fate with it.
struct Waiter {
    number: u64,
    shared: Arc<Shared>,
}

impl Waiter {
    fn poll(&self, cx: &Context<'_>) -> Poll<LinkResult<()>> {
        let mut state = locked(&self.shared.state);
        if let Some(sent) = state.sent.get_mut(&self.number).filter(|sent| sent.outcome.is_none()) {
            sent.waker = Some(cx.waker().clone());
            *locked(&self.shared.lead.waiter) = Some((self.number, cx.waker().clone()));
            state.advance(&self.shared);
        }
        match state.sent.get(&self.number) {
            Some(Sent { outcome: None, .. }) => Poll::Pending,
            Some(Sent { outcome: Some(outcome), .. }) => Poll::Ready(outcome.clone()),
            None => Poll::Ready(Err(LinkError::Lost("this confirm was told already".into()))),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.sent.remove(&self.number);
        let mut lead = locked(&self.shared.lead.waiter);
        if lead.as_ref().is_some_and(|(number, _)| *number == self.number) {
            // Woken, the next one looks for itself, in case lapin woke this one in between.
            *lead = state.sent.iter().find_map(|(number, sent)| Some((*number, sent.waker.clone()?)));
            if let Some((_, waker)) = &*lead {
                waker.wake_by_ref();
            }
        }
    }
}

impl State {
    /// Takes in what lapin knows.
    fn advance(&mut self, shared: &Shared) {
        let waker = Waker::from(Arc::clone(&shared.lead));
        let mut cx = Context::from_waker(&waker);
        let mut done = Vec::new();
        self.drain(&shared.lead, &mut cx, &mut done);
        if !done.is_empty() {
            // Takes the lock that lapin holds while it completes all confirms of an ack frame, hence returns when it is through.
            drop(shared.channel.wait_for_confirms().now_or_never());
            self.drain(&shared.lead, &mut cx, &mut done);
            self.settle(done);
        }
    }

    /// Pending alone does not mean that there is no more: with its budget used up, `FuturesUnordered` says so as well, and wakes.
    fn drain(&mut self, lead: &Lead, cx: &mut Context<'_>, done: &mut Vec<(u64, lapin::Result<Confirmation>)>) {
        loop {
            lead.woken.store(false, Ordering::SeqCst);
            match self.publishing.poll_next_unpin(cx) {
                Poll::Ready(Some(one)) => done.push(one),
                Poll::Pending if lead.woken.load(Ordering::SeqCst) => {}
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
    }

    fn settle(&mut self, done: Vec<(u64, lapin::Result<Confirmation>)>) {
        let mut outcomes = Vec::with_capacity(done.len());
        for (number, result) in done {
            let queue = self.sent.get(&number).map_or("", |sent| &sent.queue);
            let (outcome, returned) = match result {
                Ok(Confirmation::Ack(returned)) => (Ok(()), returned),
                Ok(Confirmation::Nack(returned)) => (Err(LinkError::Refused("the broker did not take the message".into())), returned),
                Ok(Confirmation::NotRequested) => (Err(LinkError::Lost("the channel does not confirm".into())), None),
                Err(error) => (Err(of_queue(&error, queue)), None),
            };
            if let Some(message) = returned {
                self.give_back(number, &message);
            }
            outcomes.push((number, outcome));
        }
        for (number, outcome) in outcomes {
            if let Some(sent) = self.sent.get_mut(&number) {
                sent.outcome = Some(if sent.returned { Err(LinkError::NotFound(sent.queue.clone())) } else { outcome });
                if let Some(waker) = sent.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// Marks the message that came back: the one it came with if that is it, else the oldest that it may be.
    fn give_back(&mut self, with: u64, message: &BasicReturnMessage) {
        let is_it = |sent: &Sent| {
            !sent.returned && sent.outcome.is_none() && sent.queue == message.routing_key.as_str() && sent.body[..] == message.data[..]
        };
        let number = match self.sent.get(&with) {
            Some(sent) if is_it(sent) => Some(with),
            _ => self.sent.iter().find_map(|(number, sent)| is_it(sent).then_some(*number)),
        };
        if let Some(sent) = number.and_then(|number| self.sent.get_mut(&number)) {
            sent.returned = true;
        }
    }
}

/// A panic elsewhere leaves nothing half done here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
