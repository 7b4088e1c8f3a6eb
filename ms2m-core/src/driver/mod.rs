//! The loop that performs the engine's effects over the four traits.
//!
//! ```text
//!   event ──► step(state, event, now) ──► store the state ──► perform the effects ──► event …
//! ```
//!
//! The state is stored before its effects are performed (or beside those of which the state before
//! [knows enough](MigrationState::may_be_stored_beside)), so whoever finds it in the [`StateStore`] can go on with
//! [`Driver::resume`]; dropping the future of [`Driver::run`] at any await is the same as a crash. Nothing is spawned: calls
//! run inside the driver's own future and are dropped as soon as the engine does not wait for them any more. Every await is
//! bounded by the engine's deadlines, with tokio's time, so simulations may pause it.
//!
//! A migration is a `tracing` span `migration` (or `resumed`), each call but the looks that are repeated is a span `call` within it, and all have the field
//! `migration`.

mod calls;
mod cancel;
mod clock;
mod observer;
mod perform;
mod store;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub use cancel::Cancel;
pub use clock::MonotonicClock;
pub use observer::{NoObserver, Observer, Progress};
pub use store::{MemoryStore, StateStore};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use self::calls::{Calls, is_awaited};
use crate::checkpoint::CheckpointSource;
use crate::engine::{DriverNames, Effect, Event, MigrationSpec, MigrationState, SWEPT, step};
use crate::error::{Error, ErrorKind, Result, Verdict};
use crate::replay::ReplayBroker;
use crate::report::MigrationReport;
use crate::restore::RestoreTarget;
use crate::time::{Clock, Timestamp};
use crate::transfer::TransferBackend;

/// A deadline is looked at again after this at the earliest, should the clock lag behind the timer.
const TICK_MIN: Duration = Duration::from_millis(1);

/// The four drivers of a migration.
#[derive(Clone, Debug)]
pub struct Drivers {
    /// Takes the checkpoint.
    pub source: Arc<dyn CheckpointSource>,
    /// Moves it.
    pub transfer: Arc<dyn TransferBackend>,
    /// Makes the copy.
    pub target: Arc<dyn RestoreTarget>,
    /// Hands the queue over.
    pub broker: Arc<dyn ReplayBroker>,
}

impl Drivers {
    fn names(&self) -> DriverNames {
        DriverNames {
            checkpoint_source: self.source.name().to_owned(),
            transfer_backend: self.transfer.name().to_owned(),
            restore_target: self.target.name().to_owned(),
            capability: self.source.capability(),
        }
    }
}

/// Runs migrations.
#[derive(Clone, Debug)]
pub struct Driver {
    drivers: Drivers,
    store: Arc<dyn StateStore>,
    observer: Arc<dyn Observer>,
    clock: Option<Arc<dyn Clock>>,
    cancel: Cancel,
}

impl Driver {
    /// A driver that keeps its states in `store`, with nobody looking on and a [`MonotonicClock`].
    #[must_use]
    pub fn new(drivers: Drivers, store: Arc<dyn StateStore>) -> Self {
        Self { drivers, store, observer: Arc::new(NoObserver), clock: None, cancel: Cancel::new() }
    }

    /// With somebody who looks on.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// With another clock. It must advance with tokio's time; where it lags, deadlines come late.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// With a handle to cancel what it runs.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Runs one migration to its end, however it ends.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when its state is stored already: it was begun and must be [resumed](Self::resume).
    /// Otherwise only when a state could not be stored: then the migration stands as after a crash, to be resumed. A migration
    /// that fails is no error but a report.
    pub async fn run(&self, spec: MigrationSpec) -> Result<MigrationReport> {
        let migration = &spec.migration;
        if self.store.load(migration).await?.is_some() {
            return Err(Error::fatal(ErrorKind::AlreadyExists, "this migration has begun already: resume it, or take another name")
                .with("migration", migration));
        }
        let clock = self.clock();
        let span = tracing::info_span!(
            "migration", migration = %spec.migration, queue = spec.queue, source = %spec.source, copy = %spec.copy, outcome = Empty, error = Empty
        );
        let state = MigrationState::new(spec, self.drivers.names(), clock.now());
        self.go_within(span, state, Event::Start, &*clock).await
    }

    /// Goes on with a migration whose driver is gone. A final state gives its report.
    ///
    /// Two drivers at once are the caller's mistake; it does not break the queue (the journal decides), but wastes work.
    ///
    /// # Errors
    /// When a state could not be stored; see [`run`](Self::run).
    pub async fn resume(&self, state: MigrationState) -> Result<MigrationReport> {
        let clock = self.clock();
        let span =
            tracing::info_span!("resumed", migration = %state.spec().migration, phase = %state.phase(), outcome = Empty, error = Empty);
        self.go_within(span, state, Event::Resumed, &*clock).await
    }

    /// Tries once to remove what an ended migration has [left behind](MigrationState::removable), and keeps the state with what is left. Each call gets
    /// [`Deadlines::call`](crate::engine::Deadlines::call).
    ///
    /// # Errors
    /// When the state could not be stored; see [`run`](Self::run). That something could not be removed is no error.
    pub async fn sweep(&self, mut state: MigrationState) -> Result<MigrationState> {
        let now = self.clock().now();
        let before = state.left_behind().names();
        for step in SWEPT {
            let Some(effect) = state.sweep(step, now) else { continue };
            match perform::perform(self.drivers.clone(), Arc::clone(&self.observer), effect).await {
                Event::Failed { fault, .. } if fault.kind != ErrorKind::NotFound => {
                    tracing::info!(migration = %state.spec().migration, %step, error = fault.message, "what was left behind cannot be removed yet");
                }
                _ => state.swept(step),
            }
        }
        if state.left_behind().names() != before {
            self.store(&state).await?;
            tracing::info!(migration = %state.spec().migration, left_behind = state.left_behind().names().join(", "), "what was left behind is removed");
        }
        Ok(state)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone().unwrap_or_else(|| Arc::new(MonotonicClock::new()))
    }

    async fn go_within(&self, span: Span, state: MigrationState, first: Event, clock: &dyn Clock) -> Result<MigrationReport> {
        let report = self.go(state, first, clock).instrument(span.clone()).await?;
        span.record("outcome", tracing::field::debug(report.outcome)).record("error", report.reason.as_deref());
        Ok(report)
    }

    async fn go(&self, mut state: MigrationState, first: Event, clock: &dyn Clock) -> Result<MigrationReport> {
        let mut calls = Calls::default();
        let cancel = self.cancel.clone();
        let mut cancelled = pin!(async move { cancel.cancelled().await });
        let mut heard = false;
        let mut event = first;
        loop {
            let (next, mut effects) = step(&state, &event, clock.now());
            calls.keep_outstanding(&next);
            let mut early = None;
            if matches!(event, Event::Start | Event::Resumed) || next.must_store_after(&state) {
                // Of a migration that begins nothing is on record.
                if event != Event::Start {
                    self.perform(&mut calls, effects.extract_if(.., |effect| next.may_be_stored_beside(&state, effect)));
                }
                (state, early) = self.store_beside(&state, next, &mut effects, &mut calls, clock).await?;
            } else {
                state = next;
            }
            if let Some(report) = MigrationReport::of(&state) {
                return Ok(report);
            }
            self.perform(&mut calls, effects);
            event = match early {
                Some(answer) => answer,
                None => wait(&mut calls, (!heard).then_some(cancelled.as_mut()), state.deadline(), clock.now()).await,
            };
            heard |= matches!(event, Event::Cancel { .. });
        }
    }

    fn perform(&self, calls: &mut Calls, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            calls.add(effect.issue, perform::perform(self.drivers.clone(), Arc::clone(&self.observer), effect));
        }
    }

    /// Stores `next` while calls go on. Who answers meanwhile is heard after that, so the store is not outrun; but a step that needs no storing itself, and whose effects `before` has on
    /// record, is taken at once: a copy that is ready takes its queue. Where that led, and the answer that had to wait.
    async fn store_beside(
        &self,
        before: &MigrationState,
        next: MigrationState,
        effects: &mut Vec<Effect>,
        calls: &mut Calls,
        clock: &dyn Clock,
    ) -> Result<(MigrationState, Option<Event>)> {
        let (mut state, mut early) = (next.clone(), None);
        let mut storing = pin!(self.store(&next));
        poll_fn(|cx| {
            while early.is_none()
                && let Poll::Ready(event) = calls.poll_answer(cx)
            {
                let (after, follow) = step(&state, &event, clock.now());
                if after.must_store_after(&state) || !follow.iter().all(|effect| after.may_be_stored_beside(before, effect)) {
                    early = Some(event);
                    continue;
                }
                calls.keep_outstanding(&after);
                effects.retain(|effect| is_awaited(&after, effect.issue));
                self.perform(calls, follow);
                state = after;
            }
            storing.as_mut().poll(cx)
        })
        .await?;
        log(before, &next);
        self.observer.on_state(&next);
        Ok((state, early))
    }

    /// A store that hiccups must not cost a migration, one that is gone must not be outrun.
    async fn store(&self, state: &MigrationState) -> Result<()> {
        let spec = state.spec();
        let mut attempt = 1;
        loop {
            let saved = match tokio::time::timeout(spec.deadlines.call, self.store.save(state)).await {
                Ok(saved) => saved,
                Err(_) => Err(Error::retry(ErrorKind::Timeout, "the store has not answered")),
            };
            match saved {
                Err(error) if error.verdict() == Verdict::Retry && attempt < spec.retry.attempts_max => {
                    tracing::warn!(migration = %spec.migration, attempt, %error, "the state could not be stored");
                    tokio::time::sleep(spec.retry.pause_after(attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error.with("migration", &spec.migration).with("phase", state.phase())),
                Ok(()) => return Ok(()),
            }
        }
    }
}

/// The next event: an answer, a cancel, or the deadline.
async fn wait(
    calls: &mut Calls,
    mut cancelled: Option<Pin<&mut impl Future<Output = String>>>,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Event {
    let mut timer = deadline.map(|deadline| Box::pin(tokio::time::sleep(deadline.since(now).max(TICK_MIN))));
    poll_fn(|cx| {
        if let Some(Poll::Ready(reason)) = cancelled.as_mut().map(|cancelled| cancelled.as_mut().poll(cx)) {
            return Poll::Ready(Event::Cancel { reason });
        }
        if let Poll::Ready(event) = calls.poll_answer(cx) {
            return Poll::Ready(event);
        }
        match timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Event::Tick),
            _ => Poll::Pending,
        }
    })
    .await
}

fn log(before: &MigrationState, after: &MigrationState) {
    let migration = &after.spec().migration;
    if after.phase() != before.phase() {
        tracing::info!(%migration, phase = %after.phase(), timeline = %after.timeline(), "phase");
    }
    if after.attention().is_some() && before.attention().is_none() {
        tracing::error!(%migration, waiting = after.waiting_for().join(", "), "a deadline has passed that cannot end this migration: look at it");
    }
    if after.copy_lost() && !before.copy_lost() {
        tracing::error!(
            %migration,
            source = %after.spec().source,
            "the copy has ended after it took the queue: the source is kept, and nobody consumes; bring the copy back, or start a consumer from the state you trust"
        );
    }
    if after.is_final() && !after.left_behind().is_empty() {
        tracing::warn!(%migration, left_behind = after.left_behind().names().join(", "), "not everything could be removed");
    }
}
