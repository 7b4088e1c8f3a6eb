//! [`Operator`]: the controller of the resource.

mod again;
mod begin;
mod finalizer;
mod lead;
mod look_after;
mod news;
mod observer;
mod reconcile;
mod running;
mod seen;
mod sweep;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{Action, Config, ReconcileRequest, applier, trigger_self};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, Store, reflector};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use ms2m_core::{Drivers, NoObserver, Observer, Result};
use tokio::sync::Semaphore;

use self::again::Again;
use self::observer::NoOperatorObserver;
pub use self::observer::OperatorObserver;
use self::running::Running;
use self::seen::Seen;
use crate::api::StatefulMigration;
use crate::plan::Plan;
use crate::watch::Pods;

/// The name of the controller in events, and of its lease.
const NAME: &str = "ms2m-controller";
/// How many resources are looked at side by side, and how many migrations begin.
const RECONCILES_MAX: u16 = 32;
/// How many resources are listed at once when the watch begins: a page is read as a whole.
const PAGE: u32 = 50;

/// Gives the four drivers of each migration: the one thing that an operator of one's own must bring.
#[async_trait]
pub trait DriverFactory: fmt::Debug + Send + Sync + 'static {
    /// The drivers for this plan. Called again after a crash, also when the source is gone: it must not ask for it.
    ///
    /// # Errors
    /// Repeated with pauses when the verdict says so; else the migration is refused if it has not begun.
    async fn drivers(&self, plan: &Plan) -> Result<Drivers>;
}

/// Runs the migrations of a cluster or of one namespace.
///
/// One driver of the engine runs for each migration, in this process, one at a time for each queue and source; its state is kept in the resource, from
/// which it goes on after a crash.
#[derive(Clone)]
pub struct Operator {
    client: Client,
    factory: Arc<dyn DriverFactory>,
    observer: Arc<dyn Observer>,
    operator_observer: Arc<dyn OperatorObserver>,
    namespace: Option<String>,
    identity: Option<String>,
    migrations_max: usize,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("factory", &self.factory).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Operator {
    /// An operator of all namespaces, with at most 64 migrations at once.
    #[must_use]
    pub fn new(client: Client, factory: Arc<dyn DriverFactory>) -> Self {
        Self {
            client,
            factory,
            observer: Arc::new(NoObserver),
            operator_observer: Arc::new(NoOperatorObserver),
            namespace: None,
            identity: None,
            migrations_max: 64,
        }
    }

    /// Of one namespace only.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// With its own name in events and in the lease: that of its pod.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// With somebody who looks on at every migration, for metrics.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// With somebody who looks on at the controller itself, for metrics.
    #[must_use]
    pub fn with_operator_observer(mut self, observer: Arc<dyn OperatorObserver>) -> Self {
        self.operator_observer = observer;
        self
    }

    /// With another limit of migrations at once; the others wait.
    #[must_use]
    pub fn with_migrations_max(mut self, migrations_max: usize) -> Self {
        self.migrations_max = migrations_max;
        self
    }

    /// Runs until `shutdown`. Migrations under way are left where they stand, for whoever runs next.
    ///
    /// Two at once for the same resources are to be ruled out by the caller: [`run_as_leader`](Self::run_as_leader) does that.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let (seen, pods): (Api<Seen>, Api<Pod>) = match &self.namespace {
            Some(namespace) => (Api::namespaced(self.client.clone(), namespace), Api::namespaced(self.client.clone(), namespace)),
            None => (Api::all(self.client.clone()), Api::all(self.client.clone())),
        };
        let (known, writer) = reflector::store();
        let changed = reflector(writer, watcher(seen, watcher::Config::default().page_size(PAGE)).default_backoff()).applied_objects();
        let (again, next) = Again::new();
        let queue = stream::select(trigger_self(changed, ()), next.map(ReconcileRequest::from).map(Ok));
        let context = Arc::new(Context {
            client: self.client.clone(),
            factory: Arc::clone(&self.factory),
            observer: Arc::clone(&self.observer),
            operator_observer: Arc::clone(&self.operator_observer),
            recorder: Recorder::new(self.client.clone(), Reporter { controller: NAME.to_owned(), instance: self.identity.clone() }),
            known,
            pods: Pods::new(pods),
            turns: Semaphore::new(RECONCILES_MAX.into()),
            again,
            running: Running::new(self.migrations_max, Arc::clone(&self.operator_observer)),
        });
        let results = applier(
            |seen, context| timed(seen, context).boxed(),
            |seen, error, _| reconcile::on_error(&seen, error),
            Arc::clone(&context),
            context.known.clone(),
            queue,
            Config::default().concurrency(RECONCILES_MAX),
        );
        let work = results.for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "a look at a migration has failed");
            }
        });
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
        context.running.leave();
        context.pods.end();
    }
}

/// One look, whose time is told.
async fn timed(seen: Arc<Seen>, context: Arc<Context>) -> Result<Action> {
    let begun = Instant::now();
    let looked = reconcile::reconcile(seen, Arc::clone(&context)).await;
    context.operator_observer.on_reconcile(begun.elapsed(), looked.is_err());
    looked
}

/// What every look at a resource needs.
struct Context {
    client: Client,
    factory: Arc<dyn DriverFactory>,
    observer: Arc<dyn Observer>,
    operator_observer: Arc<dyn OperatorObserver>,
    recorder: Recorder,
    known: Store<Seen>,
    pods: Pods,
    /// To begin, or to be gone on with.
    turns: Semaphore,
    again: Again,
    running: Running,
}

impl Context {
    fn resources(&self, namespace: &str) -> Api<StatefulMigration> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// When a resource that waits for something outside is looked at again.
const AGAIN: Duration = Duration::from_secs(5);
