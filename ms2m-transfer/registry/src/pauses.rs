//! How long to wait between two attempts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, sleep};

use crate::fault::Fault;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
/// Attempts without any progress, the first one not counted. Their pauses add up to about 5 s.
const TIMES: usize = 6;

/// Doubling pauses with jitter, up to a number of attempts and a deadline.
#[derive(Debug)]
pub(crate) struct Pauses {
    backoff: ExponentialBackoff,
    until: Instant,
}

impl Pauses {
    pub(crate) fn new(until: Instant) -> Self {
        Self { backoff: build(), until }
    }

    /// After an attempt that got somewhere.
    pub(crate) fn forget(&mut self) {
        self.backoff = build();
    }

    /// Waits before another attempt.
    ///
    /// # Errors
    /// The same fault, when another attempt is no use.
    pub(crate) async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        if !fault.passes() {
            return Err(fault);
        }
        let Some(pause) = self.backoff.next() else { return Err(fault) };
        let asked = match &fault {
            Fault::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let pause = pause.max(asked);
        // Better to say what is the matter now than that the time is over later.
        if self.until.checked_duration_since(Instant::now()).is_none_or(|left| left < pause) {
            return Err(fault);
        }
        tracing::debug!(%fault, ?pause, "the registry is asked again");
        sleep(pause).await;
        Ok(())
    }
}

fn build() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).with_max_times(TIMES).with_jitter().build()
}
