//! [`Pods`]: one watch of all pods for many who wait for one each.
//!
//! A watch of a single pod begins at once, whatever the size of the cluster, but takes a share of the API server's connection; of HTTP/1 it takes
//! one of its own, some 50 kB and a handshake. So the first few have
//! one of their own, and only if more wait at the same time they share one watch of all pods, which ends when nobody has needed it for a while.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use ms2m_core::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error;

/// So many have a watch of their own.
const OWN_MAX: usize = 16;
/// Pods that are listed at once when the watch begins.
const PAGE: u32 = 50;
/// How long the watch goes on that nobody needs.
const IDLE: Duration = Duration::from_secs(60);

tokio::task_local! {
    static SHARED: Pods;
}

/// Whoever waits within `work` may share this watch.
pub(crate) fn shared<F: Future>(pods: &Pods, work: F) -> impl Future<Output = F::Output> {
    SHARED.scope(pods.clone(), work)
}

/// How to watch now: on one's own, as long as the permit is kept, or with others.
pub(super) fn way() -> (Option<OwnedSemaphorePermit>, Option<Pods>) {
    let Ok(pods) = SHARED.try_with(Clone::clone) else { return (None, None) };
    match Arc::clone(&pods.0.own).try_acquire_owned() {
        Ok(own) => (Some(own), None),
        Err(_) => (None, Some(pods)),
    }
}

/// The watch. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Pods(Arc<Inner>);

struct Inner {
    all: Api<Pod>,
    own: Arc<Semaphore>,
    waited_for: Mutex<WaitedFor>,
}

#[derive(Default)]
struct WaitedFor {
    watch: Option<AbortHandle>,
    /// How often all pods were listed: behind each list the API server is to be asked, because a list does not say what is missing in it.
    lists: u64,
    pods: HashMap<Key, watch::Sender<News>>,
}

/// Namespace and name.
type Key = (String, String);

/// What the watch has said last of a pod.
#[derive(Clone, Default)]
struct News {
    lists: u64,
    change: Option<Change>,
    failed: Option<String>,
}

#[derive(Clone)]
struct Change {
    pod: Arc<Pod>,
    is_gone: bool,
}

impl Pods {
    /// Of the namespace or the cluster that `all` stands for.
    pub(crate) fn new(all: Api<Pod>) -> Self {
        Self(Arc::new(Inner { all, own: Arc::new(Semaphore::new(OWN_MAX)), waited_for: Mutex::default() }))
    }

    /// Ends the watch, and with it what it holds.
    pub(crate) fn end(&self) {
        if let Some(watch) = self.waited_for().watch.take() {
            watch.abort();
        }
    }

    fn waited_for(&self) -> MutexGuard<'_, WaitedFor> {
        // No call panics half-way through a change.
        self.0.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, key: Key) -> watch::Receiver<News> {
        let mut waited_for = self.waited_for();
        if waited_for.watch.as_ref().is_none_or(AbortHandle::is_finished) {
            waited_for.lists = 0;
            waited_for.watch = Some(tokio::spawn(self.clone().watch()).abort_handle());
        }
        let lists = waited_for.lists;
        waited_for.pods.entry(key).or_insert_with(|| watch::Sender::new(News { lists, ..News::default() })).subscribe()
    }

    async fn watch(self) {
        let mut events = pin!(watcher(self.0.all.clone(), watcher::Config::default().page_size(PAGE)).default_backoff());
        let mut needed = Instant::now();
        loop {
            match timeout(IDLE, events.next()).await {
                Ok(Some(event)) => self.take_in(event),
                Ok(None) => return,
                Err(_) => {}
            }
            let mut waited_for = self.waited_for();
            waited_for.pods.retain(|_, news| news.receiver_count() > 0);
            if !waited_for.pods.is_empty() {
                needed = Instant::now();
            } else if needed.elapsed() > IDLE {
                waited_for.watch = None;
                return;
            }
        }
    }

    fn take_in(&self, event: Result<Event<Pod>, watcher::Error>) {
        let mut waited_for = self.waited_for();
        match event {
            Ok(Event::Apply(pod)) => waited_for.tell(pod, false),
            Ok(Event::Delete(pod)) => waited_for.tell(pod, true),
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(Event::InitDone) => {
                waited_for.lists += 1;
                let lists = waited_for.lists;
                waited_for.pods.values().for_each(|news| news.send_modify(|news| *news = News { lists, ..News::default() }));
            }
            Err(error) => {
                let failed = error::watch(error, "watch pods").to_string();
                waited_for.pods.values().for_each(|news| news.send_modify(|news| news.failed = Some(failed.clone())));
            }
        }
    }

    /// The states of one pod, the present one first.
    pub(super) fn states(&self, pods: Api<Pod>, name: &str) -> impl Stream<Item = Result<Option<Arc<Pod>>>> + Send + use<> {
        let namespace = pods.namespace().unwrap_or_default().to_owned();
        let news = self.subscribe((namespace, name.to_owned()));
        let begun = One { pods, name: name.to_owned(), news, lists: 0, version: 0 };
        futures_util::stream::unfold(begun, |mut one| async move { Some((one.next().await?, one)) })
    }
}

impl WaitedFor {
    fn tell(&self, pod: Pod, is_gone: bool) {
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        if let Some(news) = self.pods.get(&key) {
            let pod = Arc::new(pod);
            news.send_modify(|news| (news.change, news.failed) = (Some(Change { pod, is_gone }), None));
        }
    }
}

/// What one who waits has seen of a pod.
struct One {
    pods: Api<Pod>,
    name: String,
    news: watch::Receiver<News>,
    lists: u64,
    /// Of the pod when it was asked for: the watch may be behind.
    version: u64,
}

impl One {
    async fn next(&mut self) -> Option<Result<Option<Arc<Pod>>>> {
        loop {
            let news = self.news.borrow_and_update().clone();
            if news.lists > self.lists {
                let found = self.pods.get_opt(&self.name).await;
                return Some(match found {
                    Ok(found) => {
                        self.lists = news.lists;
                        self.version = found.as_ref().map_or(0, version);
                        Ok(found.map(Arc::new))
                    }
                    Err(error) => Err(error::api(error, "read a pod")),
                });
            }
            if let Some(failed) = news.failed {
                // Told once; the watch goes on by itself.
                self.news.changed().await.ok()?;
                tracing::debug!(failed, "the watch of pods has failed");
                continue;
            }
            if let Some(change) = news.change.filter(|change| version(&change.pod) > self.version) {
                self.version = version(&change.pod);
                return Some(Ok((!change.is_gone).then_some(change.pod)));
            }
            self.news.changed().await.ok()?;
        }
    }
}

/// Versions of one resource can be compared.
fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}
