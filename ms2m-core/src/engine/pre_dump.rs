//! How many pre-dump rounds are worth while. A pure decision over what the rounds so far had to write.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When to go on with pre-dump rounds, and when to freeze.
///
/// Each round writes what has become dirty while the one before it was written and sent. That converges where the link is
/// faster than the program writes; the limits here are for where it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PreDumpPolicy {
    /// Most rounds; 0 is as good as no policy. Default 5.
    pub rounds_max: u32,
    /// Pause between two rounds. Default zero: the transfer of a round is pause enough, and a longer one only dirties more.
    pub interval: Duration,
    /// No further round after one that wrote at most so many bytes. Default 4 MiB: dumped in some ten milliseconds.
    pub dirty_bytes_max: u64,
    /// No further round after one that wrote more than this share, in percent, of what the one before it wrote. Default 80.
    pub progress_min: u8,
}

impl Default for PreDumpPolicy {
    fn default() -> Self {
        Self { rounds_max: 5, interval: Duration::ZERO, dirty_bytes_max: 4 << 20, progress_min: 80 }
    }
}

/// Why there are no further rounds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreDumpEnd {
    /// The last one had little to write.
    FewDirty,
    /// The last one wrote nearly as much as the one before it.
    NoProgress,
    /// There were as many as allowed.
    RoundsMax,
    /// The time for all rounds is over.
    Deadline,
    /// One failed, or the driver has none; why, for people.
    Failed(String),
}

impl fmt::Display for PreDumpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewDirty => f.write_str("little is left to write"),
            Self::NoProgress => f.write_str("the source writes as fast as it is dumped"),
            Self::RoundsMax => f.write_str("the limit of rounds is reached"),
            Self::Deadline => f.write_str("the time for rounds is over"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl PreDumpPolicy {
    /// Whether it is enough after rounds that wrote `dirty_bytes`, the latest one last; `None`: another round.
    #[must_use]
    pub fn end(&self, dirty_bytes: &[u64]) -> Option<PreDumpEnd> {
        let no_progress = |before: u64, last: u64| u128::from(last) * 100 > u128::from(before) * u128::from(self.progress_min);
        match dirty_bytes {
            [.., last] if *last <= self.dirty_bytes_max => Some(PreDumpEnd::FewDirty),
            rounds if rounds.len() as u64 >= u64::from(self.rounds_max) => Some(PreDumpEnd::RoundsMax),
            [.., before, last] if no_progress(*before, *last) => Some(PreDumpEnd::NoProgress),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> PreDumpPolicy {
        PreDumpPolicy { rounds_max: 4, dirty_bytes_max: 100, progress_min: 80, ..PreDumpPolicy::default() }
    }

    #[test]
    fn each_limit_ends_the_rounds() {
        assert_eq!(policy().end(&[]), None);
        assert_eq!(policy().end(&[1_000]), None, "one round cannot show progress");
        assert_eq!(policy().end(&[1_000, 800]), None);
        assert_eq!(policy().end(&[1_000, 801]), Some(PreDumpEnd::NoProgress));
        assert_eq!(policy().end(&[1_000, 100]), Some(PreDumpEnd::FewDirty));
        assert_eq!(policy().end(&[100]), Some(PreDumpEnd::FewDirty));
        assert_eq!(policy().end(&[10_000, 5_000, 2_000, 1_000]), Some(PreDumpEnd::RoundsMax));
        assert_eq!(PreDumpPolicy { rounds_max: 0, ..policy() }.end(&[]), Some(PreDumpEnd::RoundsMax));
    }

    proptest! {
        #[test]
        fn rounds_end_and_each_one_was_worth_it(
            rounds_max in 0..20u32,
            dirty_bytes_max in 0..1_000_000u64,
            progress_min in 0..=200u8,
            dirty in prop::collection::vec(any::<u64>(), 20),
        ) {
            let policy = PreDumpPolicy { rounds_max, dirty_bytes_max, progress_min, ..PreDumpPolicy::default() };
            let done = (0..=dirty.len()).find(|rounds| policy.end(&dirty[..*rounds]).is_some());
            prop_assert!(done.is_some_and(|rounds| rounds <= rounds_max as usize), "{done:?}");
            for rounds in 1..done.unwrap_or_default() {
                prop_assert!(dirty[rounds - 1] > dirty_bytes_max, "a round after one that wrote little");
                if rounds > 1 {
                    let share = u128::from(dirty[rounds - 1]) * 100;
                    prop_assert!(share <= u128::from(dirty[rounds - 2]) * u128::from(progress_min), "a round without progress");
                }
            }
        }
    }
}
