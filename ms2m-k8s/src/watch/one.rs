//! The states of one pod, by a watch of its own.
//!
//! A list waits until the API server's cache has caught up with everything that was written, up to 100 ms; a read of the one pod does not, and the watch
//! goes on from there.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use ms2m_core::Result;

use crate::error;

/// After so long the API server ends a watch, and another one begins.
const WATCH_S: u32 = 290;

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pod>>> + Send>>;

struct One {
    pods: Api<Pod>,
    name: String,
    /// What was read, and has yet to be gone on from: most who wait have found then what they have waited for.
    read: Option<String>,
    events: Option<Events>,
}

/// The present state first, `None` when there is no such pod. It goes on after each error.
pub(super) fn states(pods: Api<Pod>, name: &str) -> impl Stream<Item = Result<Option<Arc<Pod>>>> + Send + use<> {
    unfold(One { pods, name: name.to_owned(), read: None, events: None }, |mut one| async move {
        let state = one.next().await;
        if state.is_err() {
            (one.read, one.events) = (None, None);
        }
        Some((state.map(|pod| pod.map(Arc::new)), one))
    })
}

impl One {
    async fn next(&mut self) -> Result<Option<Pod>> {
        loop {
            let Some(events) = &mut self.events else {
                let Some(version) = self.read.take() else { return self.read().await };
                self.events = Some(self.watch(&version).await?);
                continue;
            };
            match events.next().await {
                Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => return Ok(Some(pod)),
                Some(Ok(WatchEvent::Deleted(_))) => return Ok(None),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                // What it was to go on from is too old.
                Some(Ok(WatchEvent::Error(status))) if status.code == 410 => self.events = None,
                Some(Ok(WatchEvent::Error(status))) => return Err(error::api(kube::Error::Api(status), "watch a pod")),
                Some(Err(error)) => return Err(error::api(error, "watch a pod")),
                None => self.events = None,
            }
        }
    }

    fn only(&self) -> String {
        format!("metadata.name={}", self.name)
    }

    async fn read(&mut self) -> Result<Option<Pod>> {
        let failed = |error| error::api(error, "read a pod");
        let mut found = self.pods.get_opt(&self.name).await.map_err(failed)?;
        let version = match &found {
            Some(pod) => pod.resource_version().unwrap_or_default(),
            None => {
                let list = self.pods.list(&ListParams::default().fields(&self.only())).await.map_err(failed)?;
                found = list.items.into_iter().next();
                list.metadata.resource_version.unwrap_or_default()
            }
        };
        self.read = Some(version);
        Ok(found)
    }

    async fn watch(&mut self, version: &str) -> Result<Events> {
        let parameters = WatchParams::default().fields(&self.only()).timeout(WATCH_S);
        Ok(self.pods.watch(&parameters, version).await.map_err(|error| error::api(error, "watch a pod"))?.boxed())
    }
}
