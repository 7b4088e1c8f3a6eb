//! A task that can be frozen, as SIGSTOP freezes a process: what it waits for happens, but it does not notice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Opens and closes.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    waiting: Option<Waker>,
}

impl Gate {
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    pub(super) fn open(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.closed = false;
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A future that only goes on while its gate is open.
pub(super) struct Gated<F> {
    gate: Arc<Gate>,
    inner: Pin<Box<F>>,
}

impl<F: Future> Gated<F> {
    pub(super) fn new(gate: Arc<Gate>, inner: F) -> Self {
        Self { gate, inner: Box::pin(inner) }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.gate.poll_open(cx) {
            Poll::Ready(()) => self.inner.as_mut().poll(cx),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_frozen_task_goes_on_when_it_thaws() {
        let gate = Arc::new(Gate::default());
        let begun = Instant::now();
        let task = tokio::spawn(Gated::new(Arc::clone(&gate), async move {
            sleep(Duration::from_secs(1)).await;
            begun.elapsed()
        }));
        tokio::task::yield_now().await;
        gate.close();
        sleep(Duration::from_secs(5)).await;
        assert!(!task.is_finished());
        gate.open();
        assert_eq!(task.await.unwrap().as_secs(), 5);
    }
}
