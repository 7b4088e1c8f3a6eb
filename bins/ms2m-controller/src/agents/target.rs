//! [`AgentTargets`]: the restore driver of whichever node the copy's pod comes to.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ms2m_core::{MigrationId, RestoreTarget, Result};
use ms2m_k8s::{NodeTargets, Placed, Plan};
use ms2m_remote::{FromImage, RemoteTarget, TargetPlace};

use super::nodes::Nodes;
use super::way::WayTo;

#[derive(Debug)]
pub(super) struct AgentTargets {
    nodes: Nodes,
    migration: MigrationId,
    source_node: String,
    way: Arc<WayTo>,
    from_image: bool,
    /// The copy's node, once it is known.
    node: Mutex<Option<String>>,
}

impl AgentTargets {
    pub(super) fn new(nodes: Nodes, plan: &Plan, way: Arc<WayTo>, from_image: bool) -> Self {
        Self { nodes, migration: plan.migration.clone(), source_node: plan.source_node.clone(), way, from_image, node: Mutex::default() }
    }

    /// Where the copy is, as far as this controller has seen.
    pub(super) fn node(&self) -> Option<String> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl NodeTargets for AgentTargets {
    fn name(&self) -> &'static str {
        if self.from_image { "image" } else { "runtime" }
    }

    async fn target(&self, placed: &Placed) -> Result<Arc<dyn RestoreTarget>> {
        let agent = self.nodes.caller(&placed.node).await?;
        self.node.lock().unwrap_or_else(PoisonError::into_inner).replace(placed.node.clone());
        let place = TargetPlace {
            migration: self.migration.clone(),
            namespace: placed.namespace.clone(),
            pod: placed.pod.clone(),
            // Without a pod there is nothing that could wait.
            containers: placed.pod_uid.iter().flat_map(|_| placed.containers.clone()).collect(),
            image: placed.base_image.clone().map(|base| FromImage { base }),
            pod_uid: placed.pod_uid.clone().unwrap_or_default(),
            from_node: self.source_node.clone(),
        };
        Ok(Arc::new(RemoteTarget::new(agent, place, self.way.to(&placed.node).await?)))
    }
}
