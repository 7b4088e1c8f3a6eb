//! The calls under way, and what wakes the driver up.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Event, MigrationState};

type Running = Pin<Box<dyn Future<Output = Event> + Send>>;

/// The futures of the outstanding effects. There are a handful at most, so each wake-up polls them all.
#[derive(Default)]
pub(super) struct Calls {
    running: Vec<(u64, Running)>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.running.iter().map(|(issue, _)| issue)).finish()
    }
}

/// Whether the answer to this call is waited for.
pub(super) fn is_awaited(state: &MigrationState, issue: u64) -> bool {
    state.outstanding().iter().any(|call| call.issue == issue)
}

impl Calls {
    pub(super) fn add(&mut self, issue: u64, call: impl Future<Output = Event> + Send + 'static) {
        self.running.push((issue, Box::pin(call)));
    }

    /// Drops, at once, the calls whose answers nobody waits for any more.
    pub(super) fn keep_outstanding(&mut self, state: &MigrationState) {
        self.running.retain(|(issue, _)| is_awaited(state, *issue));
    }

    /// The first answer; the call that gave it is gone then.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for at in 0..self.running.len() {
            if let Poll::Ready(event) = self.running[at].1.as_mut().poll(cx) {
                drop(self.running.swap_remove(at));
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}
