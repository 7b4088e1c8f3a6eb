//! [`Operator`]: the controller of the resource.

mod begin;
mod finalizer;
mod lead;
mod news;
mod reconcile;
mod running;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client};
use ms2m_core::{Drivers, NoObserver, Observer, Result};
use tokio::sync::broadcast;

use self::running::Running;
use crate::api::StatefulMigration;
use crate::plan::Plan;

/// The name of the controller in events, and of its lease.
const NAME: &str = "ms2m-controller";
/// How many resources are looked at side by side.
const RECONCILES_MAX: u16 = 32;

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
        Self { client, factory, observer: Arc::new(NoObserver), namespace: None, identity: None, migrations_max: 64 }
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
        let resources: Api<StatefulMigration> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let (ended, _) = broadcast::channel(1);
        let controller = Controller::new(resources, watcher::Config::default()).with_config(Config::default().concurrency(RECONCILES_MAX));
        let context = Arc::new(Context {
            client: self.client.clone(),
            factory: Arc::clone(&self.factory),
            observer: Arc::clone(&self.observer),
            recorder: Recorder::new(self.client.clone(), Reporter { controller: NAME.to_owned(), instance: self.identity.clone() }),
            known: controller.store(),
            running: Running::new(self.migrations_max, ended.clone()),
        });
        // Whoever has waited for one that has ended is looked at again. Lagging behind only means that several have.
        let ended = futures_util::stream::unfold(ended.subscribe(), |mut ended| async move {
            match ended.recv().await {
                Ok(()) | Err(broadcast::error::RecvError::Lagged(_)) => Some(((), ended)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        let results = controller.reconcile_all_on(ended).run(
            reconcile::reconcile,
            |resource, error, _| reconcile::on_error(&resource, error),
            Arc::clone(&context),
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
    }
}

/// What every look at a resource needs.
struct Context {
    client: Client,
    factory: Arc<dyn DriverFactory>,
    observer: Arc<dyn Observer>,
    recorder: Recorder,
    known: Store<StatefulMigration>,
    running: Running,
}

/// When a resource that waits for something outside is looked at again.
const AGAIN: Duration = Duration::from_secs(5);
