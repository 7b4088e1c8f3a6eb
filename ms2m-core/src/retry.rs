//! [`RetryPolicy`]: how often, and how long apart, a call is repeated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Shortest pause between two calls, so that no policy spins.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Doubling pauses between the attempts of one effect.
///
/// The engine counts, not the driver: the count is part of the stored state, so a crash does not start it afresh. There is
/// no jitter: a node has a handful of migrations at a time, and the same state and event always give the same effects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Calls in all before an error that asks for a retry counts as final. After the commit point nothing that matters gives up.
    pub attempts_max: u32,
    /// Pause before the second attempt.
    pub base: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl RetryPolicy {
    /// The pause after the `attempt`-th failed call, counted from 1.
    #[must_use]
    pub fn pause_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        self.base.saturating_mul(1 << doublings).min(self.max).max(PAUSE_MIN)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, base: Duration::from_millis(50), max: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_vanish() {
        let policy = RetryPolicy { attempts_max: 9, base: Duration::from_millis(50), max: Duration::from_millis(300) };
        let pauses: Vec<u128> = (1..=5).map(|attempt| policy.pause_after(attempt).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 300, 300]);
        assert_eq!(policy.pause_after(u32::MAX), policy.max);
        assert_eq!(RetryPolicy { base: Duration::ZERO, ..policy }.pause_after(3), PAUSE_MIN);
    }
}
