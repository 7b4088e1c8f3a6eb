//! Evictions, as `kubectl drain` asks for them: PodDisruptionBudgets have the last word.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::PostParams;
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::super::shown::Lines;
use super::limit::Limit;
use super::sorted::{Name, is_pending};
use crate::kubernetes::consumed::is_opted_in;

/// Before an eviction that a budget does not allow now is asked for again, where the API server does not say it.
const AGAIN: Duration = Duration::from_secs(5);
/// Before a look at a pod is repeated.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// So many at a time.
const AT_ONCE: usize = 16;

/// What became of one pod.
#[derive(Debug, Serialize)]
pub(super) struct Evicted {
    #[serde(flatten)]
    pub(super) name: Name,
    /// Whether it is gone.
    pub(super) gone: bool,
    /// Why it is not.
    pub(super) reason: Option<String>,
}

/// Evicts all of them, and waits until they are gone.
pub(super) async fn all(client: &Client, pods: &[Pod], grace_s: Option<u32>, limit: &Limit, lines: &Lines) -> Vec<Evicted> {
    let one = async |pod: &Pod| {
        let name = Name::of(pod);
        let refused = RefCell::default();
        let done = match limit.or_enough(evict(client, pod, grace_s, lines, &refused)).await {
            Ok(Ok(())) => await_gone(client, pod, limit).await,
            Ok(Err(reason)) => Err(reason),
            Err(why) => Err(refused.take().map_or_else(|| why.clone(), |refused: String| format!("{refused} ({why})"))),
        };
        lines.say(&match &done {
            Ok(()) => format!("{name}: evicted"),
            Err(reason) => format!("{name}: not evicted: {reason}"),
        });
        Evicted { name, gone: done.is_ok(), reason: done.err() }
    };
    futures_util::stream::iter(pods).map(one).buffer_unordered(AT_ONCE).collect().await
}

/// Waits until they are gone that end by themselves.
pub(super) async fn all_gone(client: &Client, pods: &[Pod], limit: &Limit) -> Vec<Evicted> {
    let one = async |pod: &Pod| {
        let done = await_gone(client, pod, limit).await;
        Evicted { name: Name::of(pod), gone: done.is_ok(), reason: done.err() }
    };
    futures_util::stream::iter(pods).map(one).buffer_unordered(AT_ONCE).collect().await
}

async fn await_gone(client: &Client, pod: &Pod, limit: &Limit) -> Result<(), String> {
    let uid = pod.uid().unwrap_or_default();
    let gone = async {
        // Another pod of its name is not this one.
        while await_condition(pods(client, pod), &pod.name_any(), is_deleted(&uid)).await.is_err() {
            sleep(LOOK_AGAIN).await;
        }
    };
    limit.or_enough(gone).await.map_err(|why| format!("it has not ended yet: {why}"))
}

fn pods(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &Name::of(pod).namespace)
}

/// Asks until it is allowed; the caller sets a limit, and may see what was said meanwhile.
async fn evict(client: &Client, pod: &Pod, grace_s: Option<u32>, lines: &Lines, refused: &RefCell<Option<String>>) -> Result<(), String> {
    let eviction = eviction(pod, grace_s);
    loop {
        let asked: kube::Result<Value> =
            pods(client, pod).create_subresource("eviction", &pod.name_any(), &PostParams::default(), &eviction).await;
        let (pause, why) = match asked {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) => match status.code {
                404 => return Ok(()),
                409 if must_not_have_changed(pod) => {
                    return Err("it is opted in and has changed meanwhile: drain the node once more".to_owned());
                }
                // Another pod of its name.
                409 => return Ok(()),
                429 | 503 | 504 => {
                    let after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
                    (after.map_or(AGAIN, |seconds| Duration::from_secs(seconds.into())), status.message.clone())
                }
                403 => return Err(format!("{}; ask for the role ms2m-drainer", status.message)),
                _ => return Err(status.message.clone()),
            },
            Err(error) => (AGAIN, error.to_string()),
        };
        if refused.borrow().is_none() {
            lines.say(&format!("{}: not evicted yet, and tried again: {why}", Name::of(pod)));
        }
        refused.replace(Some(why));
        sleep(pause).await;
    }
}

/// What is opted in is evicted only as long as nothing of it has run.
fn must_not_have_changed(pod: &Pod) -> bool {
    is_opted_in(pod) && is_pending(pod)
}

fn eviction(pod: &Pod, grace_s: Option<u32>) -> Eviction {
    let resource_version = must_not_have_changed(pod).then(|| pod.resource_version()).flatten();
    Eviction {
        metadata: ObjectMeta { name: Some(pod.name_any()), namespace: pod.namespace(), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: grace_s.map(Into::into),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version }),
            ..DeleteOptions::default()
        }),
    }
}
