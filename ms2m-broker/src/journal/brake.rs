//! When the copy does not catch up, the source is slowed down: latency grows for the time of the chase, nothing is lost.

use std::time::Duration;

use ms2m_core::{ReplayProgress, ReplayStanding};
use tokio::time::Instant;

/// How long rates are measured before one decides.
const WINDOW: Duration = Duration::from_millis(500);
/// The source is never slowed below this share of its rate, in thousandths.
const PERMILLE_MIN: u16 = 100;

/// Watches whether lag shrinks.
#[derive(Debug, Default)]
pub(super) struct Brake {
    since: Option<(Instant, u64, u64)>,
    permille: Option<u16>,
}

impl Brake {
    /// Takes a reading; `Some` when the source should work at another share of its rate, in thousandths.
    ///
    /// With source rate r and replay rate rho the chase takes `lag / (rho - r)`; where that is negative or endless the source
    /// is braked to half of rho.
    pub(super) fn observe(&mut self, progress: &ReplayProgress, now: Instant) -> Option<u16> {
        if progress.standing != ReplayStanding::Replaying {
            self.since = None;
            return None;
        }
        let (then, source_n, copy_n) = *self.since.get_or_insert((now, progress.source_n, progress.copy_n));
        if now.duration_since(then) < WINDOW {
            return None;
        }
        self.since = Some((now, progress.source_n, progress.copy_n));
        let worked = progress.source_n.saturating_sub(source_n);
        let replayed = progress.copy_n.saturating_sub(copy_n);
        if worked == 0 || replayed * 10 > worked * 12 {
            return None;
        }
        let full_rate = worked * 1000 / u64::from(self.permille.unwrap_or(1000));
        let wanted = u16::try_from(replayed * 500 / full_rate.max(1)).unwrap_or(1000).clamp(PERMILLE_MIN, 500);
        let slower = self.permille.is_none_or(|permille| wanted < permille);
        slower.then(|| {
            self.permille = Some(wanted);
            wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source_n: u64, copy_n: u64) -> ReplayProgress {
        ReplayProgress { source_n, copy_n, standing: ReplayStanding::Replaying }
    }

    #[test]
    fn a_copy_that_keeps_falling_behind_brakes_the_source_below_its_replay_rate() {
        let (mut brake, start) = (Brake::default(), Instant::now());
        assert_eq!(brake.observe(&at(1000, 0), start), None);
        // 100 applied, 80 replayed in half a second: half of the replay rate is 40 % of the source's.
        assert_eq!(brake.observe(&at(1100, 80), start + WINDOW), Some(400));
        // Braked to 40 the copy catches up.
        assert_eq!(brake.observe(&at(1140, 160), start + WINDOW * 2), None);
    }

    #[test]
    fn a_copy_that_catches_up_needs_no_brake() {
        let (mut brake, start) = (Brake::default(), Instant::now());
        brake.observe(&at(1000, 0), start);
        assert_eq!(brake.observe(&at(1050, 800), start + WINDOW), None);
    }
}
