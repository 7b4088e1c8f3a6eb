//! Failures by a seed: before, during or after the effect.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, Error, ErrorKind, MigrationId, PreDump,
    Receipt, RestoreJob, RestoreTarget, Restored, Result, SourceStatus, TransferBackend, TransferCapability, TransferJob,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// When a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Moment {
    /// Nothing has happened.
    Before,
    /// A stream breaks off in its middle. A call without a stream has no middle: it fails as [`After`](Self::After).
    During,
    /// All has happened, and the answer is lost, as when the process in between dies. The caller must call again, or undo.
    After,
}

/// How much chaos.
#[derive(Clone, PartialEq, Debug)]
pub struct ChaosOptions {
    /// The same seed and calls give the same failures.
    pub seed: u64,
    /// The probability that a call fails.
    pub probability: f64,
    /// After so many failures everything works, so that a bounded number of repetitions succeeds.
    pub failures_max: u32,
    /// When calls fail; one is drawn for each failure. None: no failures.
    pub moments: Vec<Moment>,
}

impl ChaosOptions {
    /// Fails each of the first `failures_max` calls, at any moment.
    #[must_use]
    pub fn always(seed: u64, failures_max: u32) -> Self {
        Self { seed, probability: 1.0, failures_max, moments: vec![Moment::Before, Moment::During, Moment::After] }
    }
}

/// Lets calls fail, with errors whose verdict is Retry.
pub struct Chaos<T: ?Sized> {
    inner: Arc<T>,
    options: ChaosOptions,
    dice: Mutex<(StdRng, u32)>,
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Chaos<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("options", &self.options).field("inner", &&self.inner).finish_non_exhaustive()
    }
}

impl<T: ?Sized> Chaos<T> {
    /// Lets calls of `inner` fail.
    #[must_use]
    pub fn new(inner: Arc<T>, options: ChaosOptions) -> Self {
        let dice = Mutex::new((StdRng::seed_from_u64(options.seed), 0));
        Self { inner, options, dice }
    }

    /// How many calls have failed so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn draw(&self) -> Option<Moment> {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let (rng, failures) = &mut *dice;
        if *failures >= self.options.failures_max || self.options.moments.is_empty() || !rng.random_bool(self.options.probability) {
            return None;
        }
        *failures += 1;
        Some(self.options.moments[rng.random_range(0..self.options.moments.len())])
    }

    async fn call<R>(&self, what: &'static str, call: impl Future<Output = Result<R>> + Send) -> Result<R> {
        match self.draw() {
            Some(Moment::Before) => Err(failure(what, Moment::Before)),
            Some(moment) => {
                call.await?;
                Err(failure(what, moment))
            }
            None => call.await,
        }
    }

    async fn stream(&self, what: &'static str, length: u64, open: impl Future<Output = Result<ByteStream>> + Send) -> Result<ByteStream> {
        match self.draw() {
            Some(Moment::During) => Ok(broken(what, length / 2, open.await?)),
            Some(moment) => Err(failure(what, moment)),
            None => open.await,
        }
    }
}

fn failure(what: &'static str, moment: Moment) -> Error {
    Error::retry(ErrorKind::Unavailable, format!("injected failure of {what}, {moment:?} the effect"))
}

/// The stream's first `bytes`, then an error.
fn broken(what: &'static str, bytes: u64, stream: ByteStream) -> ByteStream {
    let part = futures_util::stream::unfold((stream, bytes), |(mut stream, left)| async move {
        let piece = if left == 0 { None } else { stream.next().await };
        match piece? {
            Ok(mut piece) => {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - piece.len() as u64;
                Some((Ok(piece), (stream, left)))
            }
            Err(error) => Some((Err(error), (stream, 0))),
        }
    });
    Box::pin(part.chain(futures_util::stream::iter([Err(failure(what, Moment::During))])))
}

#[async_trait]
impl<T: TransferBackend + ?Sized> TransferBackend for Chaos<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> TransferCapability {
        self.inner.capability()
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        match self.draw() {
            Some(Moment::Before) => Err(failure("send", Moment::Before)),
            Some(Moment::During) => self.inner.send(job, broken("send", job.archive_bytes / 2, body)).await,
            Some(Moment::After) => {
                self.inner.send(job, body).await?;
                Err(failure("send", Moment::After))
            }
            None => self.inner.send(job, body).await,
        }
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        self.stream("open", receipt.archive_bytes.saturating_sub(offset_bytes), self.inner.open(receipt, offset_bytes)).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.call("discard", self.inner.discard(migration)).await
    }
}

#[async_trait]
impl<T: CheckpointSource + ?Sized> CheckpointSource for Chaos<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> CheckpointCapability {
        self.inner.capability()
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.call("status", self.inner.status()).await
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        self.call("pre_dump", self.inner.pre_dump(job, round)).await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.call("checkpoint", self.inner.checkpoint(job)).await
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        self.stream("open", checkpoint.archive_bytes.saturating_sub(offset_bytes), self.inner.open(checkpoint, offset_bytes)).await
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        self.call("retire", self.inner.retire(migration)).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.call("discard", self.inner.discard(migration)).await
    }
}

#[async_trait]
impl<T: RestoreTarget + ?Sized> RestoreTarget for Chaos<T> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        self.call("prepare", self.inner.prepare(job)).await
    }

    async fn await_ready(&self, job: &RestoreJob) -> Result<()> {
        self.call("await_ready", self.inner.await_ready(job)).await
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.call("stage", self.inner.stage(job, receipt, transfer)).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        self.call("restore", self.inner.restore(job, receipts, transfer)).await
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        self.call("copy status", self.inner.status(migration)).await
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        self.call("promote", self.inner.promote(migration)).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.call("discard", self.inner.discard(migration)).await
    }
}
