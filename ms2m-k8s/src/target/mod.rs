//! [`KubeTarget`]: the copy's pod around its container.

mod discard;
mod image;
mod place;
mod promote;
mod successor;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use ms2m_core::{
    CopyStatus, Error, ErrorKind, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend, Verdict,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub(crate) use self::place::{broken, unscheduled};
pub use self::successor::SuccessorTarget;

use crate::answer::answer;
use crate::api::{BASE_IMAGE, MIGRATION_LABEL};
use crate::error;
use crate::plan::Plan;
use crate::watch::within;

/// The name under which pods are applied.
const MANAGER: &str = "ms2m-copy";
/// What the copy becomes with its promotion: kept with it, because the source may be gone when that is done.
const BECOMES: &str = "migration.ms2m.io/becomes";
/// Annotation on a promoted copy: the migration that has made it.
pub(crate) const MOVED_BY: &str = "migration.ms2m.io/moved-by";
/// How long a failed preparation may take to clean up after itself.
const UNDO: Duration = Duration::from_millis(500);

/// Where a copy's pod has come to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The node.
    pub node: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Which one of that name; `None` before there is one, when the node only learns what it has to expect.
    pub pod_uid: Option<String>,
    /// The containers that wake with their state, in the pod's order.
    pub containers: Vec<String>,
    /// The application's own image, where the node's container runtime makes the copy from an image of the checkpoint.
    pub base_image: Option<String>,
}

/// Gives the restore drivers of nodes.
#[async_trait]
pub trait NodeTargets: fmt::Debug + Send + Sync + 'static {
    /// The drivers' name in reports, for example `runtime`.
    fn name(&self) -> &'static str;

    /// The driver on the node of a copy's pod. Its `prepare` returns once the node waits for the checkpoint; it is called again after a crash.
    ///
    /// # Errors
    /// When the node cannot restore, or cannot be reached.
    async fn target(&self, placed: &Placed) -> Result<Arc<dyn RestoreTarget>>;
}

/// Makes the copy as a pod, hidden until it owns the queue, and gives it to the source's ReplicaSet then.
///
/// Until its promotion the copy has none of the source's labels: no Service routes to it and no policy for networks that goes by them applies to it.
/// One that must apply can name the label `migration.ms2m.io/migration`.
#[derive(Debug)]
pub struct KubeTarget {
    pods: Api<Pod>,
    plan: Plan,
    runtime_class_name: Option<String>,
    from_image: bool,
    nodes: Arc<dyn NodeTargets>,
    /// The driver on the copy's node, once that is known.
    agent: Mutex<Option<Arc<dyn RestoreTarget>>>,
}

impl KubeTarget {
    /// The target of a plan, with the drivers of its nodes.
    #[must_use]
    pub fn new(client: &Client, plan: &Plan, nodes: Arc<dyn NodeTargets>) -> Self {
        Self {
            pods: Api::namespaced(client.clone(), &plan.namespace),
            plan: plan.clone(),
            runtime_class_name: None,
            from_image: false,
            nodes,
            agent: Mutex::new(None),
        }
    }

    /// With a class of runtime for the copy in place of the source's own: one whose runtime can restore.
    #[must_use]
    pub fn with_runtime_class_name(mut self, name: impl Into<String>) -> Self {
        self.runtime_class_name = Some(name.into());
        self
    }

    /// The node's container runtime makes the copy, from an image of the checkpoint. The drivers of nodes take [`Placed::base_image`] for that: they make an image of
    /// the part that they are asked to [stage](RestoreTarget::stage), under the name `localhost/ms2m/copy:MIGRATION`.
    #[must_use]
    pub fn from_image(mut self) -> Self {
        self.from_image = true;
        self
    }

    /// The copy's pod, hidden or promoted. One of this name that is not ours is an error.
    async fn copy(&self) -> Result<Option<Pod>> {
        let name = &self.plan.copy_pod;
        let found = self.pods.get_opt(name).await.map_err(|error| error::api(error, "read the copy's pod"))?;
        if let Some(pod) = &found {
            self.is_ours(pod)?;
        }
        Ok(found)
    }

    fn is_ours(&self, pod: &Pod) -> Result<()> {
        let of = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| map.as_ref().and_then(|map| map.get(key).cloned());
        let migration = of(&pod.metadata.labels, MIGRATION_LABEL).or_else(|| of(&pod.metadata.annotations, MOVED_BY));
        if migration.as_deref() == Some(self.plan.migration.as_str()) {
            return Ok(());
        }
        Err(Error::fatal(
            ErrorKind::AlreadyExists,
            "a pod of the copy's name exists that is not of this migration: delete it, and try again",
        )
        .with("pod", &self.plan.copy_pod))
    }

    /// The driver on the node of the copy's pod; `None` while there is no such pod or it has no node.
    async fn agent(&self) -> Result<Option<Arc<dyn RestoreTarget>>> {
        let mut agent = self.agent.lock().await;
        if agent.is_none()
            && let Some(placed) = self.copy().await?.as_ref().and_then(|pod| self.placed(pod))
        {
            *agent = Some(self.nodes.target(&placed).await?);
        }
        Ok(agent.clone())
    }

    fn placed(&self, pod: &Pod) -> Option<Placed> {
        Some(Placed {
            node: pod.spec.as_ref()?.node_name.clone()?,
            namespace: self.plan.namespace.clone(),
            pod: self.plan.copy_pod.clone(),
            pod_uid: Some(pod.metadata.uid.clone()?),
            containers: self.plan.containers.clone(),
            base_image: pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(BASE_IMAGE).cloned()),
        })
    }

    fn client(&self) -> Client {
        self.pods.clone().into_client()
    }

    async fn present_agent(&self) -> Result<Arc<dyn RestoreTarget>> {
        self.agent().await?.ok_or_else(|| {
            Error::undo(ErrorKind::NotFound, "the copy's pod is gone: somebody has deleted it").with("pod", &self.plan.copy_pod)
        })
    }
}

#[async_trait]
impl RestoreTarget for KubeTarget {
    fn name(&self) -> &'static str {
        self.nodes.name()
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        let end = Instant::now() + within(job.deadline);
        let made = self.make(job, end).await.map_err(|error| spent(error, end));
        if made.is_err() {
            // As far as that goes in the time that is left; the engine asks for the rest.
            let _ = timeout(UNDO, self.remove(&job.migration)).await;
        }
        made
    }

    async fn await_ready(&self, job: &RestoreJob) -> Result<()> {
        let end = Instant::now() + within(job.deadline);
        self.comes_up(job, end).await.map_err(|error| spent(error, end))
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.present_agent().await?.stage(job, receipt, transfer).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let agent = self.present_agent().await?;
        let restored = match self.from_image {
            true => self.restore_from_image(&*agent, job, receipts, transfer).await?,
            false => agent.restore(job, receipts, transfer).await?,
        };
        // A pod that somebody has deleted lives a while longer: its copy must not take the queue any more.
        if self.copy().await?.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()) {
            return Ok(restored);
        }
        agent.discard(&job.migration).await?;
        Err(Error::undo(ErrorKind::NotFound, "somebody has deleted the copy's pod").with("pod", &self.plan.copy_pod))
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let Some(agent) = self.agent().await? else {
            // A pod that was not given to a node yet has no process either, but will.
            return Ok(if self.copy().await?.is_some() { CopyStatus::Present } else { CopyStatus::Gone });
        };
        match answer(agent.status(migration)).await {
            Ok(status) => Ok(status),
            Err(error) => match self.copy().await? {
                Some(pod) if !has_ended(&pod) => Err(error),
                _ => Ok(CopyStatus::Gone),
            },
        }
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        if self.from_image {
            // Its node gives the image's name to the application's own meanwhile: the queue is the copy's in any case.
            let agent = self.present_agent().await?;
            return tokio::try_join!(self.give_over(), agent.promote(migration)).map(drop);
        }
        self.give_over().await?;
        self.present_agent().await?.promote(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.remove(migration).await
    }
}

/// What has used up all its time says why in its own words, and is not tried again without any.
fn spent(error: Error, end: Instant) -> Error {
    if Instant::now() < end { error } else { error.judged(Verdict::Undo) }
}

fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Failed" | "Succeeded"))
}
