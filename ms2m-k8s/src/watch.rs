//! Waiting for a pod, by watching it.

mod ending;
mod many;
mod one;

use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::ending::kubelet_ends;
pub(crate) use self::many::{Pods, shared};

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
    let end = Instant::now() + limit;
    let (_own, shared) = many::way();
    let mut states = match shared {
        Some(shared) => shared.states(pods.clone(), name).boxed(),
        None => one::states(pods.clone(), name).boxed(),
    };
    let mut last = "the API server has not answered".to_owned();
    loop {
        let Ok(state) = timeout_at(end, states.next()).await else {
            let message = format!("waited {:.1} s in vain for {what}: {last}", limit.as_secs_f64());
            return Err(Error::retry(ErrorKind::Timeout, message).with("pod", name));
        };
        match state {
            Some(Ok(pod)) => match look(pod.as_deref())? {
                Look::Found(found) => return Ok(found),
                Look::NotYet(why) => last = why,
            },
            Some(Err(error)) => {
                if error.verdict() != Verdict::Retry {
                    return Err(error.with("pod", name));
                }
                last = error.to_string();
                sleep(PAUSE).await;
            }
            None => return Err(Error::retry(ErrorKind::Unavailable, "the watch of a pod has ended").with("pod", name)),
        }
    }
}

/// The time that may pass in here, so that the caller's own deadline does not come first and say less.
pub(crate) fn within(deadline: Duration) -> Duration {
    deadline - (deadline / 10).min(Duration::from_secs(1))
}
