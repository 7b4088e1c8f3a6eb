//! When a drain stops: at its deadline, or when somebody has had enough.

use std::future::Future;
use std::time::Duration;

use ms2m_core::Cancel;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::interrupt;

/// The same for all parts of one drain.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    deadline: Instant,
    timeout: Duration,
    enough: Cancel,
    at_once: watch::Receiver<bool>,
}

impl Limit {
    /// From now on; listens to signals.
    pub(super) fn new(timeout: Duration) -> Self {
        let enough = Cancel::new();
        let said = "beginning nothing more, and seeing what is under way to its end; once more to leave at once (migrations go on)";
        let at_once = interrupt::listen_and_say(enough.clone(), said);
        Self { deadline: Instant::now() + timeout, timeout, enough, at_once }
    }

    /// For what could still be left undone: ends with the first signal, too.
    pub(super) async fn or_enough<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            // What is done counts, also when somebody has had enough at the same time.
            biased;
            done = work => Ok(done),
            _ = self.enough.cancelled() => Err("interrupted".to_owned()),
            () = sleep_until(self.deadline) => Err(self.passed()),
        }
    }

    /// For what is under way.
    pub(super) async fn or_at_once<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = interrupt::at_once(self.at_once.clone()) => Err("interrupted".to_owned()),
            () = sleep_until(self.deadline) => Err(self.passed()),
        }
    }

    /// Why nothing more is begun, if that is so.
    pub(super) async fn reached(&self) -> Option<String> {
        tokio::select! {
            biased;
            _ = self.enough.cancelled() => Some("interrupted".to_owned()),
            () = sleep_until(self.deadline) => Some(self.passed()),
            () = std::future::ready(()) => None,
        }
    }

    fn passed(&self) -> String {
        format!("--timeout of {} s has passed", self.timeout.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn limit(timeout: Duration) -> (Limit, watch::Sender<bool>) {
        let (second, at_once) = watch::channel(false);
        (Limit { deadline: Instant::now() + timeout, timeout, enough: Cancel::new(), at_once }, second)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_begins_nothing_more_and_the_second_waits_for_nothing() {
        let (limit, second) = limit(Duration::from_secs(60));
        assert_eq!(limit.reached().await, None);
        limit.enough.cancel("interrupted");
        assert_eq!(limit.reached().await.as_deref(), Some("interrupted"));
        limit.or_enough(pending::<()>()).await.unwrap_err();
        assert_eq!(limit.or_at_once(ready(7)).await, Ok(7));
        let waits = limit.or_at_once(pending::<()>());
        second.send_replace(true);
        assert_eq!(waits.await, Err("interrupted".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_beyond_the_deadline() {
        let (limit, _second) = limit(Duration::from_secs(60));
        assert!(limit.or_at_once(pending::<()>()).await.unwrap_err().contains("60 s"));
        assert!(limit.reached().await.unwrap().contains("--timeout"));
    }
}
