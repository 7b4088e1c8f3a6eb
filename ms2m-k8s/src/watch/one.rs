//! The states of one object, by a watch of its own.
//!
//! A list waits until the API server's cache has caught up with everything that was written, up to 100 ms; a read of the one object does not, and the watch
//! goes on from there.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use ms2m_core::Result;
use serde::de::DeserializeOwned;

use crate::error;

/// After so long the API server ends a watch, and another one begins.
const WATCH_S: u32 = 290;

type Events<K> = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<K>>> + Send>>;

struct One<K> {
    objects: Api<K>,
    name: String,
    /// What was read, and has yet to be gone on from: most who wait have found then what they have waited for.
    read: Option<String>,
    events: Option<Events<K>>,
}

/// The present state first, `None` when there is no such object. It goes on after each error.
pub(crate) fn of_one<K>(objects: Api<K>, name: &str) -> impl Stream<Item = Result<Option<Arc<K>>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    unfold(One { objects, name: name.to_owned(), read: None, events: None }, |mut one| async move {
        let state = one.next().await;
        if state.is_err() {
            (one.read, one.events) = (None, None);
        }
        Some((state.map(|object| object.map(Arc::new)), one))
    })
}

impl<K> One<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    async fn next(&mut self) -> Result<Option<K>> {
        loop {
            let Some(events) = &mut self.events else {
                let Some(version) = self.read.take() else { return self.read().await };
                self.events = Some(self.watch(&version).await?);
                continue;
            };
            match events.next().await {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => return Ok(Some(object)),
                Some(Ok(WatchEvent::Deleted(_))) => return Ok(None),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                // What it was to go on from is too old.
                Some(Ok(WatchEvent::Error(status))) if status.code == 410 => self.events = None,
                Some(Ok(WatchEvent::Error(status))) => return Err(error::api(kube::Error::Api(status), "watch what is waited for")),
                Some(Err(error)) => return Err(error::api(error, "watch what is waited for")),
                None => self.events = None,
            }
        }
    }

    fn only(&self) -> String {
        format!("metadata.name={}", self.name)
    }

    async fn read(&mut self) -> Result<Option<K>> {
        let failed = |error| error::api(error, "read what is waited for");
        let mut found = self.objects.get_opt(&self.name).await.map_err(failed)?;
        let version = match &found {
            Some(object) => object.resource_version().unwrap_or_default(),
            None => {
                let list = self.objects.list(&ListParams::default().fields(&self.only())).await.map_err(failed)?;
                found = list.items.into_iter().next();
                list.metadata.resource_version.unwrap_or_default()
            }
        };
        self.read = Some(version);
        Ok(found)
    }

    async fn watch(&mut self, version: &str) -> Result<Events<K>> {
        let parameters = WatchParams::default().fields(&self.only()).timeout(WATCH_S);
        Ok(self.objects.watch(&parameters, version).await.map_err(|error| error::api(error, "watch what is waited for"))?.boxed())
    }
}
