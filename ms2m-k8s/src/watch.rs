//! Waiting for a pod, or another object, by watching it.

mod ending;
mod many;
mod one;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::ending::kubelet_ends;
pub(crate) use self::many::{Pods, shared};
pub(crate) use self::one::of_one;

/// Between two attempts to watch.
const PAUSE: Duration = Duration::from_millis(200);

/// What a look at a pod has shown.
pub(crate) enum Look<T> {
    /// What was waited for.
    Found(T),
    /// Not yet, and why, for people.
    NotYet(String),
}

/// Looks at each state of a pod, `None` when there is none, until one is found. `what` completes "waited for".
///
/// A watch is a connection of its own, or its share of one of HTTP/2. Where many wait at once, most of them [share](shared) one.
pub(crate) async fn until<T>(
    pods: &Api<Pod>,
    name: &str,
    limit: Duration,
    what: &str,
    mut look: impl FnMut(Option<&Pod>) -> Result<Look<T>> + Send,
) -> Result<T> {
    let (_own, shared) = many::way();
    let states = match shared {
        Some(shared) => shared.states(pods.clone(), name).boxed(),
        None => of_one(pods.clone(), name).boxed(),
    };
    let mut states = States::new(states, limit, what, ("pod", name));
    loop {
        match look(states.next().await?.as_deref())? {
            Look::Found(found) => return Ok(found),
            Look::NotYet(why) => states.not_yet(why),
        }
    }
}

/// The states of one object, until a deadline.
pub(crate) struct States<'a, S> {
    states: S,
    end: Instant,
    limit: Duration,
    /// Completes "waited for".
    what: &'a str,
    /// Its kind and its name.
    object: (&'static str, &'a str),
    /// Why what was waited for has not come yet, for people.
    last: String,
}

impl<'a, S> States<'a, S> {
    pub(crate) fn new(states: S, limit: Duration, what: &'a str, object: (&'static str, &'a str)) -> Self {
        Self { states, end: Instant::now() + limit, limit, what, object, last: "the API server has not answered".to_owned() }
    }

    /// The state that was seen last was not the one.
    pub(crate) fn not_yet(&mut self, why: String) {
        self.last = why;
    }

    /// The next one, `None` when there is no such object. What can be tried again is.
    pub(crate) async fn next<K>(&mut self) -> Result<Option<Arc<K>>>
    where
        S: Stream<Item = Result<Option<Arc<K>>>> + Unpin,
    {
        let (kind, name) = self.object;
        loop {
            let Ok(state) = timeout_at(self.end, self.states.next()).await else {
                let message = format!("waited {:.1} s in vain for {}: {}", self.limit.as_secs_f64(), self.what, self.last);
                return Err(Error::retry(ErrorKind::Timeout, message).with(kind, name));
            };
            match state {
                Some(Ok(state)) => return Ok(state),
                Some(Err(error)) => {
                    if error.verdict() != Verdict::Retry {
                        return Err(error.with(kind, name));
                    }
                    self.last = error.to_string();
                    sleep(PAUSE).await;
                }
                None => return Err(Error::retry(ErrorKind::Unavailable, "a watch has ended").with(kind, name)),
            }
        }
    }
}

/// The time that may pass in here, so that the caller's own deadline does not come first and say less.
pub(crate) fn within(deadline: Duration) -> Duration {
    deadline - (deadline / 10).min(Duration::from_secs(1))
}
