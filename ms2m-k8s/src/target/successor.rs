//! [`SuccessorTarget`]: the copy in the pod that a StatefulSet makes by itself.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use ms2m_core::{CopyStatus, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::place::node_waits;
use super::promote::{gone, is_ready};
use super::{NodeTargets, Placed, has_ended};
use crate::answer::answer;
use crate::plan::Plan;
use crate::source::KubeSource;
use crate::strategy::Strategy;
use crate::successor::Successor;
use crate::watch::within;

/// Makes the copy in the StatefulSet's own pod.
///
/// [`Sequential`](Strategy::Sequential): when the checkpoint has arrived, and not before, the source is ended, and the pod that the StatefulSet makes in its place is
/// restored. From then on only the copy can go on, so every step is tried again until its deadline. A copy that cannot be made leaves the pod waiting and
/// the checkpoint where it is: nothing starts with no state.
///
/// [`Home`](Strategy::Home): the pod waits already, and the source, which stands in for it, serves until the hand-over.
#[derive(Debug)]
pub struct SuccessorTarget {
    plan: Plan,
    successor: Successor,
    nodes: Arc<dyn NodeTargets>,
    source: Arc<KubeSource>,
    /// The driver of the pod with this UID.
    agent: Mutex<Option<(String, Arc<dyn RestoreTarget>)>>,
}

impl SuccessorTarget {
    /// The target of a plan that [has a successor](Strategy::has_successor), with the drivers of its nodes. `source` is the plan's source. `runtime_class_name` is the class of
    /// a runtime that can restore, in place of the pod's own.
    #[must_use]
    pub fn new(
        client: &Client,
        plan: &Plan,
        nodes: Arc<dyn NodeTargets>,
        source: Arc<KubeSource>,
        runtime_class_name: Option<&str>,
    ) -> Self {
        let node = plan.spec.target_node.as_deref().unwrap_or(&plan.source_node);
        let successor =
            Successor::new(client, &plan.namespace, (&plan.migration, &plan.resource), (&plan.copy_pod, node), runtime_class_name);
        Self { plan: plan.clone(), successor, nodes, source, agent: Mutex::default() }
    }

    fn is_sequential(&self) -> bool {
        matches!(self.plan.strategy, Strategy::Sequential { .. })
    }

    fn placed(&self, pod_uid: Option<String>) -> Placed {
        Placed {
            node: self.successor.node.clone(),
            namespace: self.plan.namespace.clone(),
            pod: self.successor.name.clone(),
            pod_uid,
            containers: self.plan.containers.clone(),
            base_image: None,
        }
    }

    async fn agent_of(&self, pod: &Pod) -> Result<Arc<dyn RestoreTarget>> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut agent = self.agent.lock().await;
        if let Some((known, agent)) = &*agent
            && *known == uid
        {
            return Ok(Arc::clone(agent));
        }
        let found = self.nodes.target(&self.placed(Some(uid.clone()))).await?;
        *agent = Some((uid, Arc::clone(&found)));
        Ok(found)
    }

    /// The pod, and its node waits in it for the checkpoint.
    async fn waits(&self, job: &RestoreJob, before: Option<&str>) -> Result<Pod> {
        let end = Instant::now() + within(job.deadline);
        let pod = self.successor.awaits(before, within(job.deadline)).await?;
        let agent = self.agent_of(&pod).await?;
        let waited = (&self.successor.pods, self.successor.name.as_str(), pod.metadata.uid.as_deref());
        node_waits(&*agent, job, waited, end).await.map(|()| pod)
    }

    async fn present(&self) -> Result<Pod> {
        self.successor.find().await?.ok_or_else(|| gone(&self.successor.name))
    }
}

#[async_trait]
impl RestoreTarget for SuccessorTarget {
    fn name(&self) -> &'static str {
        self.nodes.name()
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        if self.is_sequential() {
            // There is no pod yet; the node only learns what will come.
            return self.nodes.target(&self.placed(None)).await?.prepare(job).await;
        }
        self.successor.place().await?;
        self.waits(job, None).await.map(drop)
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.nodes.target(&self.placed(None)).await?.stage(job, receipt, transfer).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        let pod = if self.is_sequential() {
            self.successor.place().await?;
            self.source.end(&job.migration).await?;
            self.waits(job, Some(&self.plan.source_uid)).await?
        } else {
            self.present().await?
        };
        let job = RestoreJob { deadline: job.deadline.saturating_sub(begun.elapsed()), ..job.clone() };
        let restored = self.agent_of(&pod).await?.restore(&job, receipts, transfer).await;
        if restored.is_err() {
            // Its container is made once; the next attempt has another pod.
            self.successor.remove(&pod).await?;
        }
        restored
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let Some(pod) = self.successor.find().await? else { return Ok(CopyStatus::Gone) };
        let agent = self.agent_of(&pod).await?;
        match answer(agent.status(migration)).await {
            Err(error) if !has_ended(&pod) => Err(error),
            Err(_) => Ok(CopyStatus::Gone),
            Ok(status) => Ok(status),
        }
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        let pod = self.present().await?;
        is_ready(&self.successor.pods, &self.successor.name).await?;
        self.agent_of(&pod).await?.promote(migration).await?;
        self.successor.settle(&pod).await?;
        self.successor.clear().await
    }

    /// A pod that waits is sent away by its node, and stays as it is: one that takes its place would start with no state.
    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let pod = self.successor.find().await?;
        let uid = pod.and_then(|pod| pod.metadata.uid);
        self.nodes.target(&self.placed(uid)).await?.discard(migration).await?;
        if self.is_sequential() { self.successor.clear().await } else { Ok(()) }
    }
}
