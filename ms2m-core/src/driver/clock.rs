//! [`MonotonicClock`]: the clock that fits the driver's sleeps.

use crate::time::{Clock, SystemClock, Timestamp};

/// The machine's time at creation, carried on by tokio's monotonic time: it never goes back, and stands still where a
/// simulation pauses time.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    epoch: Timestamp,
    started: tokio::time::Instant,
}

impl MonotonicClock {
    /// A clock that shows the machine's time now.
    #[must_use]
    pub fn new() -> Self {
        Self::from_epoch(SystemClock.now())
    }

    /// A clock that shows `epoch` now, for simulations.
    #[must_use]
    pub fn from_epoch(epoch: Timestamp) -> Self {
        Self { epoch, started: tokio::time::Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        self.epoch.after(self.started.elapsed())
    }
}
