//! The brake: works at a share of the full rate, so that a copy can catch up.

use std::time::Duration;

use tokio::time::Instant;

const FULL: u16 = 1000;

/// Longest pause, so that a nearly closed brake still lets the consumer answer for itself.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Brake {
    permille: u16,
    free_at: Option<Instant>,
}

impl Default for Brake {
    fn default() -> Self {
        Self { permille: FULL, free_at: None }
    }
}

impl Brake {
    pub(super) fn set(&mut self, permille: u16) {
        self.permille = permille.clamp(1, FULL);
        if self.permille == FULL {
            self.free_at = None;
        }
    }

    /// A message took so long: the next one waits until the rate is right.
    pub(super) fn worked(&mut self, took: impl FnOnce() -> Duration) {
        if self.permille < FULL {
            let permille = u32::from(self.permille);
            self.free_at = Some(Instant::now() + (took() * (u32::from(FULL) - permille) / permille).min(PAUSE_MAX));
        }
    }

    /// When the next message may begin, if not now.
    pub(super) fn blocks_until(&mut self) -> Option<Instant> {
        self.free_at = self.free_at.filter(|free_at| *free_at > Instant::now());
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_make_up_the_rest_of_the_rate() {
        let mut brake = Brake::default();
        brake.worked(|| Duration::from_millis(30));
        assert_eq!(brake.blocks_until(), None);
        brake.set(250);
        brake.worked(|| Duration::from_millis(30));
        let free_at = brake.blocks_until().unwrap();
        assert_eq!(free_at - Instant::now(), Duration::from_millis(90), "30 ms of work in 120 ms");
        tokio::time::sleep_until(free_at).await;
        assert_eq!(brake.blocks_until(), None);
        brake.set(0);
        brake.worked(|| Duration::from_secs(5));
        assert_eq!(brake.blocks_until().unwrap() - Instant::now(), PAUSE_MAX);
        brake.set(1000);
        assert_eq!(brake.blocks_until(), None);
    }
}
