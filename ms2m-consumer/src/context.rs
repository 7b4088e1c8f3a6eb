//! [`Context`]: everything that a handler may take from outside.

use std::future::pending;
use std::sync::OnceLock;
use std::vec;

use bytes::Bytes;
use ms2m_broker::protocol::Determinants;
use ms2m_core::{Clock, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

const NOW: &str = "@now";
const RANDOM: &str = "@random";
const UNRECORDABLE: &str = "@unrecordable";

/// What surrounds the message that is being applied.
///
/// Values from outside are taken and recorded while the consumer is live. A copy that replays gets the recorded ones, in the
/// same order. A handler that asks for others than the source did is not deterministic; its copy refuses itself.
#[derive(Debug)]
pub struct Context<'a> {
    n: u64,
    clock: &'a dyn Clock,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
    /// Taken from outside, and recorded here.
    Live(Vec<Bytes>),
    /// Taken from the record.
    Replay { recorded: vec::IntoIter<Bytes>, diverged: &'a OnceLock<String> },
}

impl<'a> Context<'a> {
    pub(crate) fn live_at(n: u64, clock: &'a dyn Clock) -> Self {
        Self { n, clock, values: Values::Live(Vec::new()) }
    }

    pub(crate) fn replay_at(n: u64, clock: &'a dyn Clock, recorded: Determinants, diverged: &'a OnceLock<String>) -> Self {
        Self { n, clock, values: Values::Replay { recorded: recorded.0.into_iter(), diverged } }
    }

    /// What was taken from outside; in replay whether all of it was asked for again.
    pub(crate) fn finish(self) -> Determinants {
        match self.values {
            Values::Live(taken) => Determinants(taken),
            Values::Replay { recorded, diverged } => {
                if recorded.len() > 0 {
                    let left = recorded.len();
                    diverged.get_or_init(|| format!("message {}: the source took {left} more values than the copy asks for", self.n));
                }
                Determinants::default()
            }
        }
    }

    /// The message's number: how many this consumer and those before it have applied, this one included.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Whether this consumer owns the queue now. For logs and metrics: state must not depend on it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.values, Values::Live(_))
    }

    /// The time, as it was when the message was first applied.
    pub fn now(&mut self) -> Timestamp {
        let clock = self.clock;
        self.value(NOW, || clock.now().as_micros()).map_or(Timestamp::default(), Timestamp::from_micros)
    }

    /// A random number.
    pub fn random(&mut self) -> u64 {
        self.value(RANDOM, rand::random).unwrap_or_default()
    }

    /// Fills a buffer with random bytes. For many of them draw one [`random`](Self::random) and seed a generator: all that is
    /// taken goes to the journal.
    pub fn fill_random(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.random().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// A value read from elsewhere. `io` runs while the consumer is live; a copy gets the recorded result without I/O. Results
    /// that can fail are values too: read a `Result` with a serialisable error.
    pub async fn read<T, F>(&mut self, name: &str, io: F) -> T
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = T>,
    {
        if self.is_live() {
            let value = io.await;
            self.record(name, &value);
            return value;
        }
        match self.recorded(name) {
            Some(value) => value,
            // There is no value to go on with. The host sees the divergence and drops this future.
            None => pending().await,
        }
    }

    /// I/O of which nothing comes back into the state: a cache warmed, a log line sent. Skipped in replay. Not an effect: it
    /// happens while the message is applied, and again when it is applied again after a crash.
    pub async fn live<F: Future<Output = ()>>(&mut self, io: F) {
        if self.is_live() {
            io.await;
        }
    }

    fn value<T: Serialize + DeserializeOwned>(&mut self, name: &str, take: impl FnOnce() -> T) -> Option<T> {
        if !self.is_live() {
            return self.recorded(name);
        }
        let value = take();
        self.record(name, &value);
        Some(value)
    }

    fn record<T: Serialize>(&mut self, name: &str, value: &T) {
        if let Values::Live(taken) = &mut self.values {
            // A value that cannot be written cannot be replayed: the entry makes every copy refuse itself.
            let entry = postcard::to_stdvec(&(name, value)).or_else(|_| postcard::to_stdvec(&(UNRECORDABLE, name)));
            taken.push(entry.unwrap_or_default().into());
        }
    }

    fn recorded<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let Values::Replay { recorded, diverged } = &mut self.values else { return None };
        let n = self.n;
        let Some(entry) = recorded.next() else {
            diverged.get_or_init(|| format!("message {n}: the copy asks for {name:?}, the source took nothing more"));
            return None;
        };
        match postcard::take_from_bytes::<&str>(&entry) {
            Ok((found, value)) if found == name => match postcard::from_bytes(value) {
                Ok(value) => return Some(value),
                Err(_) => diverged.get_or_init(|| format!("message {n}: the recorded value of {name:?} is of another type")),
            },
            Ok((UNRECORDABLE, _)) => diverged.get_or_init(|| format!("message {n}: the source could not record {name:?}")),
            Ok((found, _)) => diverged.get_or_init(|| format!("message {n}: the copy asks for {name:?}, the source took {found:?}")),
            Err(_) => diverged.get_or_init(|| format!("message {n}: the recorded value for {name:?} is unreadable")),
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use ms2m_core::SystemClock;

    use super::*;

    async fn asks(cx: &mut Context<'_>) -> (Timestamp, u64, Result<u32, String>) {
        let mut bytes = [0; 11];
        let (now, number) = (cx.now(), cx.random());
        cx.fill_random(&mut bytes);
        (now, number ^ u64::from(bytes[10]), cx.read("price", async { Err("no price".to_owned()) }).await)
    }

    #[tokio::test]
    async fn a_replay_gets_the_same_values_without_io() {
        let mut live = Context::live_at(7, &SystemClock);
        let first = asks(&mut live).await;
        let determinants = live.finish();
        assert_eq!(determinants.0.len(), 5, "time, three random numbers, one read");
        let diverged = OnceLock::new();
        let mut replay = Context::replay_at(7, &SystemClock, determinants, &diverged);
        assert_eq!(asks(&mut replay).await, first);
        replay.live(async { panic!("no I/O in replay") }).await;
        assert_eq!(replay.finish(), Determinants::default());
        assert_eq!(diverged.get(), None);
    }

    fn divergence(recorded: impl FnOnce(&mut Context<'_>), asked: impl FnOnce(&mut Context<'_>)) -> Option<String> {
        let mut live = Context::live_at(1, &SystemClock);
        recorded(&mut live);
        let diverged = OnceLock::new();
        let mut replay = Context::replay_at(1, &SystemClock, live.finish(), &diverged);
        asked(&mut replay);
        replay.finish();
        diverged.into_inner()
    }

    #[test]
    fn other_questions_than_the_sources_are_a_divergence() {
        let now = |cx: &mut Context<'_>| {
            cx.now();
        };
        let random = |cx: &mut Context<'_>| {
            cx.random();
        };
        assert_eq!(divergence(now, now), None);
        assert!(divergence(now, random).is_some_and(|reason| reason.contains("@random") && reason.contains("@now")));
        assert!(divergence(now, |_| {}).is_some_and(|reason| reason.contains("1 more values")));
        assert!(divergence(|_| {}, now).is_some_and(|reason| reason.contains("took nothing more")));
    }
}
