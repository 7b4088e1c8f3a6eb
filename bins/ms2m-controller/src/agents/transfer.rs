//! [`LaterTransfer`]: the way to a node that is known only once the copy's pod has come there.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use ms2m_k8s::Plan;
use ms2m_k8s::api::TransferMode;
use ms2m_remote::{RemoteTransfer, SourcePlace};

use super::nodes::Nodes;
use super::target::AgentTargets;
use super::way::WayTo;

#[derive(Debug)]
pub(super) struct LaterTransfer {
    nodes: Nodes,
    plan: Plan,
    place: SourcePlace,
    targets: Arc<AgentTargets>,
    way: Arc<WayTo>,
}

impl LaterTransfer {
    pub(super) fn new(nodes: Nodes, plan: &Plan, place: SourcePlace, targets: Arc<AgentTargets>, way: Arc<WayTo>) -> Self {
        Self { nodes, plan: plan.clone(), place, targets, way }
    }

    /// Where the copy's pod is; `None` when there is none, or it is nowhere yet.
    async fn node(&self) -> Result<Option<String>> {
        if let Some(node) = self.targets.node().or_else(|| self.plan.spec.target_node.clone()) {
            return Ok(Some(node));
        }
        let pods: Api<Pod> = Api::namespaced(self.nodes.client(), &self.plan.namespace);
        let pod = pods.get_opt(&self.plan.copy_pod).await;
        let cannot = |error| Error::retry(ErrorKind::Unavailable, "the copy's pod cannot be looked at").caused_by(error);
        Ok(pod.map_err(cannot)?.and_then(|pod| pod.spec?.node_name))
    }
}

impl LaterTransfer {
    /// By the agent of one node to another.
    async fn through(&self, from: &str, to: &str) -> Result<RemoteTransfer> {
        let (agent, way) = (self.nodes.caller(from).await?, self.way.to(to).await?);
        let bytes_per_s_max = self.plan.spec.bytes_per_second_max.and_then(std::num::NonZeroU64::new);
        let transfer = RemoteTransfer::new(agent, self.place.clone(), way, self.nodes.credentials().clone());
        Ok(transfer.with_bytes_per_s_max(bytes_per_s_max))
    }
}

#[async_trait]
impl TransferBackend for LaterTransfer {
    fn name(&self) -> &'static str {
        match self.plan.spec.transfer_mode {
            TransferMode::Direct => "direct",
            TransferMode::Registry => "registry",
            TransferMode::SharedVolume => "shared-volume",
        }
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: self.plan.spec.transfer_mode == TransferMode::Direct, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let node = self.node().await?.ok_or_else(|| Error::undo(ErrorKind::NotFound, "the copy's pod is on no node any more"))?;
        self.through(&self.plan.source_node, &node).await?.send(job, body).await
    }

    async fn open(&self, receipt: &Receipt, _: u64) -> Result<ByteStream> {
        let message = "the bytes of a checkpoint stay between the nodes: their agents restore it";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", &receipt.migration))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        // Without a node, nothing was sent.
        let Some(node) = self.node().await? else { return Ok(()) };
        match self.through(&self.plan.source_node, &node).await?.discard(migration).await {
            // What lies between the nodes can be removed from either.
            Err(error) if self.plan.spec.transfer_mode != TransferMode::Direct => {
                self.through(&node, &node).await?.discard(migration).await.map_err(|_| error)
            }
            discarded => discarded,
        }
    }
}
