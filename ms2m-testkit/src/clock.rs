//! Simulated time.

use ms2m_core::{Clock, Timestamp};
use tokio::time::Instant;

/// A clock that runs with tokio's time, so that it stands still and jumps with it when that is paused.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedClock {
    start: Instant,
    at_start: Timestamp,
}

impl SimulatedClock {
    /// A clock that shows `at_start` now.
    #[must_use]
    pub fn starting_at(at_start: Timestamp) -> Self {
        Self { start: Instant::now(), at_start }
    }
}

impl Default for SimulatedClock {
    /// Starts at a fixed point, so that simulated runs repeat to the microsecond.
    fn default() -> Self {
        Self::starting_at(Timestamp::from_micros(1_700_000_000_000_000))
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.at_start.after(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_paused_time() {
        let clock = SimulatedClock::default();
        let before = clock.now();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(3600));
    }
}
