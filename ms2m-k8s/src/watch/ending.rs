//! Whether a pod's kubelet has begun to end it.
//!
//! The API server marks a pod as deleted some time before its kubelet hears of that. A container that ends in between is started again, even one whose pod is
//! marked. Once the kubelet has begun to end the pod it starts nothing of it any more, and that it has begun it says by an event, before it does anything else.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

/// With [`many`](super::many)'s it stays below what an API server lets one connection of HTTP/2 have (100); most last for less than 100 ms.
static WATCHES: Semaphore = Semaphore::const_new(16);
/// What the message of kubelet's event begins with when the pod ends, and not one of its containers to be started again.
const STOPPING: &str = "Stopping container";

/// Waits until the kubelet has said that it ends this pod, or for so long: events can be lost, and a node may be cut off.
pub(crate) async fn kubelet_ends(events: &Api<Event>, pod_uid: &str, limit: Duration) {
    let _one = WATCHES.acquire().await;
    let end = Instant::now() + limit;
    match timeout_at(end, said(events, pod_uid)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => tracing::info!(pod_uid, error = &error as &dyn std::error::Error, "no events of a pod that ends"),
        Err(_) => tracing::info!(pod_uid, "its kubelet has not said that it ends a pod"),
    }
    sleep_until(end).await;
}

async fn said(events: &Api<Event>, pod_uid: &str) -> kube::Result<()> {
    let of_the_pod = format!("involvedObject.uid={pod_uid},reason=Killing");
    loop {
        // From "0" on those come first that are there already.
        let mut watch = Box::pin(events.watch(&WatchParams::default().fields(&of_the_pod), "0").await?);
        while let Some(event) = watch.try_next().await? {
            match event {
                WatchEvent::Added(event) | WatchEvent::Modified(event) if is_of_the_end(&event) => return Ok(()),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
                _ => {}
            }
        }
    }
}

fn is_of_the_end(event: &Event) -> bool {
    event.message.as_deref().is_some_and(|message| message.starts_with(STOPPING))
}
