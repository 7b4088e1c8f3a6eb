//! Effects between `apply` and the sink: kept until the machine lets them out, emitted in order beside the next messages.
//!
//! What waits here is bounded by the broker's window: a message is not acknowledged before its effects are out.

use std::collections::VecDeque;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::effect::{Effect, EffectId, EffectSink, Effects};
use crate::limits::Limits;

/// Effects of one consumer on their way out.
#[derive(Debug)]
pub(super) struct Outbox {
    consumer: String,
    /// Applied, not let out yet.
    kept: VecDeque<(u64, Vec<Bytes>)>,
    /// Let out, for the next batch.
    ready: Vec<Effect>,
    /// The last message let out.
    released_n: u64,
    /// The last message of the batch that is with the sink.
    emitting: Option<u64>,
    batches: mpsc::Sender<Vec<Effect>>,
    answers: mpsc::Receiver<Result<()>>,
    task: JoinHandle<()>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outbox {
    pub(super) fn new(consumer: String, sink: Box<dyn EffectSink>, limits: &Limits) -> Self {
        // One batch at a time is out, so neither channel ever holds more than one.
        let (batches, inbound) = mpsc::channel(1);
        let (outbound, answers) = mpsc::channel(1);
        let task = tokio::spawn(emit_all(sink, limits.effect_attempts, inbound, outbound));
        Self { consumer, kept: VecDeque::new(), ready: Vec::new(), released_n: 0, emitting: None, batches, answers, task }
    }

    /// Keeps what a message has caused.
    pub(super) fn keep(&mut self, n: u64, effects: Effects) {
        if !effects.is_empty() {
            self.kept.push_back((n, effects.into_payloads()));
        }
    }

    /// Lets the effects of `n` out. Returns up to where all are out, if that is known at once.
    pub(super) fn release(&mut self, n: u64) -> Option<u64> {
        self.released_n = n;
        while let Some((_, payloads)) = self.kept.pop_front_if(|(kept, _)| *kept <= n) {
            let numbered = (0..).zip(payloads);
            self.ready.extend(numbered.map(|(i, payload)| Effect { id: EffectId { consumer: self.consumer.clone(), n, i }, payload }));
        }
        self.send()
    }

    /// Throws away what was kept up to `n`.
    pub(super) fn forget(&mut self, n: u64) {
        while self.kept.pop_front_if(|(kept, _)| *kept <= n).is_some() {}
    }

    /// Throws everything away that is not with the sink: another state begins.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.ready.clear();
    }

    fn send(&mut self) -> Option<u64> {
        if self.emitting.is_some() {
            return None;
        }
        if self.ready.is_empty() {
            return Some(self.released_n);
        }
        self.emitting = Some(self.released_n);
        // Cannot be full; closed only when the task has panicked, which the answer will tell.
        let _ = self.batches.try_send(std::mem::take(&mut self.ready));
        None
    }

    /// Waits for the sink; cancel-safe. Forever while nothing is with it.
    pub(super) async fn answer(&mut self) -> Result<()> {
        if self.emitting.is_none() {
            return std::future::pending().await;
        }
        self.answers.recv().await.unwrap_or_else(|| Err(panicked()))
    }

    /// A batch is out. Returns up to where all effects are, and sends the next batch.
    pub(super) fn emitted(&mut self) -> Option<u64> {
        let n = self.emitting.take();
        self.send().or(n)
    }
}

fn panicked() -> Error {
    Error::fatal(ErrorKind::Other, "the effect sink has panicked")
}

async fn emit_all(
    mut sink: Box<dyn EffectSink>,
    attempts: usize,
    mut batches: mpsc::Receiver<Vec<Effect>>,
    answers: mpsc::Sender<Result<()>>,
) {
    while let Some(batch) = batches.recv().await {
        let answer = emit(&mut *sink, attempts, batch).await;
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}

async fn emit(sink: &mut dyn EffectSink, attempts: usize, batch: Vec<Effect>) -> Result<()> {
    let policy = ExponentialBuilder::default()
        .with_min_delay(std::time::Duration::from_millis(20))
        .with_max_delay(std::time::Duration::from_secs(2))
        .with_max_times(attempts.saturating_sub(1))
        .with_jitter();
    let mut pauses = policy.build();
    loop {
        let Err(error) = sink.emit(batch.clone()).await else { return Ok(()) };
        // What is fatal for a broker now (a missing queue, a missing permission) may be mended while we hold the messages.
        match pauses.next() {
            Some(pause) => {
                tracing::warn!(%error, ?pause, "effects are not out; trying again");
                sleep(pause).await;
            }
            None => {
                let text = format!("effects could not be let out in {attempts} attempts; their messages are not acknowledged");
                return Err(Error::new(error.kind(), Verdict::GaveUpRetrying, text).caused_by(error));
            }
        }
    }
}
