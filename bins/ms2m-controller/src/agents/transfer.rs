//! [`LaterTransfer`]: the way to a node that is known only once the copy's pod has come there.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use ms2m_k8s::Plan;
use ms2m_remote::{RemoteTransfer, SourcePlace, Way};
use ms2m_transfer_direct::DirectTransfer;

use super::nodes::Nodes;
use super::target::AgentTargets;

#[derive(Debug)]
pub(super) struct LaterTransfer {
    nodes: Nodes,
    plan: Plan,
    place: SourcePlace,
    targets: Arc<AgentTargets>,
}

impl LaterTransfer {
    pub(super) fn new(nodes: Nodes, plan: &Plan, place: SourcePlace, targets: Arc<AgentTargets>) -> Self {
        Self { nodes, plan: plan.clone(), place, targets }
    }

    /// Where the copy's pod is; `None` when there is none, or it is nowhere yet.
    async fn node(&self) -> Result<Option<String>> {
        if let Some(node) = self.targets.node() {
            return Ok(Some(node));
        }
        let pods: Api<Pod> = Api::namespaced(self.nodes.client(), &self.plan.namespace);
        let pod = pods.get_opt(&self.plan.copy_pod).await;
        let cannot = |error| Error::retry(ErrorKind::Unavailable, "the copy's pod cannot be looked at").caused_by(error);
        Ok(pod.map_err(cannot)?.and_then(|pod| pod.spec?.node_name))
    }
}

#[async_trait]
impl TransferBackend for LaterTransfer {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: true, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let node = self.node().await?.ok_or_else(|| Error::undo(ErrorKind::NotFound, "the copy's pod is on no node any more"))?;
        let bytes_per_s_max = self.plan.spec.bytes_per_second_max.and_then(std::num::NonZeroU64::new);
        let way = Way::Direct { url: self.nodes.url(&node).await?, node, bytes_per_s_max };
        let agent = self.nodes.caller(&self.plan.source_node).await?;
        RemoteTransfer::new(agent, self.place.clone(), way, self.nodes.credentials().clone())?.send(job, body).await
    }

    async fn open(&self, receipt: &Receipt, _: u64) -> Result<ByteStream> {
        let message = "the bytes of a checkpoint stay between the nodes: their agents restore it";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", &receipt.migration))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        // Without a node, nothing was sent.
        let Some(node) = self.node().await? else { return Ok(()) };
        let url = self.nodes.url(&node).await?;
        DirectTransfer::to_node(&url, &node, self.nodes.credentials().clone())?.discard(migration).await
    }
}
