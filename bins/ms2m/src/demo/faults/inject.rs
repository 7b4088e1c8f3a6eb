//! Lets a migration's faults happen at their moments.

use std::sync::{Arc, PoisonError};

use ms2m_core::engine::{Course, MigrationState};
use ms2m_core::{MigrationId, Observer, Phase, Progress};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::{Fault, Strike, Tally};
use crate::demo::leg::Leg;
use crate::demo::stage::Stage;

/// What is known of the migration under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    phase: Phase,
    has_checkpoint: bool,
    goes_forward: bool,
}

/// Sees the migration on its way, for injectors, and passes everything on to who shows it.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: watch::Sender<Seen>,
    next: Arc<dyn Observer>,
}

impl Watch {
    pub(crate) fn new(next: Arc<dyn Observer>) -> Self {
        let seen = Seen { phase: Phase::Pending, has_checkpoint: false, goes_forward: true };
        Self { seen: watch::Sender::new(seen), next }
    }
}

impl Observer for Watch {
    fn on_state(&self, state: &MigrationState) {
        self.seen.send_replace(Seen {
            phase: state.phase(),
            has_checkpoint: state.facts().checkpoint.is_some(),
            goes_forward: *state.course() == Course::Forward,
        });
        self.next.on_state(state);
    }

    fn on_progress(&self, migration: &MigrationId, progress: &Progress) {
        self.next.on_progress(migration, progress);
    }
}

/// Injects one fault.
pub(crate) struct Injector {
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) watch: Arc<Watch>,
    /// Told to crash the driver.
    pub(crate) crash: Arc<Notify>,
    pub(crate) leg: Leg,
    pub(crate) tally: Tally,
}

impl Injector {
    /// Waits for the moment and lets it happen. Ends with the migration should the moment not come.
    pub(crate) async fn run(self, strike: Strike) {
        let mut seen = self.watch.seen.subscribe();
        let reached = seen.wait_for(|seen| seen.phase >= strike.phase).await.map(|seen| *seen);
        if !matches!(reached, Ok(seen) if !seen.phase.is_final()) {
            return;
        }
        sleep(strike.after).await;
        let now = *seen.borrow();
        if now.phase.is_final() || !leaves_the_state(strike.fault, now) {
            return;
        }
        tracing::info!(leg = self.leg.number, phase = %now.phase, fault = ?strike.fault, "fault");
        if strike.fault == Fault::CrashDriver {
            self.crash.notify_one();
        } else if let Err(error) = self.stage.strike(&self.leg, strike.fault).await {
            return tracing::warn!(%error, fault = ?strike.fault, "a fault could not be injected");
        }
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner).entry(strike.fault.kind()).or_default() += 1;
    }
}

/// Whether somebody has the state after it. Nothing is awaited between this and the strike.
fn leaves_the_state(fault: Fault, seen: Seen) -> bool {
    match fault {
        // On the way back the source is the only one that will have it.
        Fault::KillSource => seen.has_checkpoint && (seen.goes_forward || seen.phase == Phase::Completed),
        Fault::KillCopy => seen.goes_forward && seen.phase < Phase::Finalizing,
        _ => true,
    }
}
