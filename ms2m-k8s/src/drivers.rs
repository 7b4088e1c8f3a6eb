//! [`PodDrivers`]: what concerns the pods of a migration, whatever its strategy.

use std::sync::Arc;

use kube::Client;
use ms2m_core::{CheckpointSource, Error, ErrorKind, RestoreTarget, Result};

use crate::plan::Plan;
use crate::source::KubeSource;
use crate::strategy::Strategy;
use crate::target::{KubeTarget, NodeTargets, SuccessorTarget};

/// Two of the four drivers of a migration.
#[derive(Clone, Debug)]
pub struct PodDrivers {
    /// The source in its pod.
    pub source: Arc<dyn CheckpointSource>,
    /// The copy in its pod: one that is made for it, or the StatefulSet's own.
    pub target: Arc<dyn RestoreTarget>,
}

impl PodDrivers {
    /// Those of a plan. `agent` looks after the source's container, `nodes` after the copy's; `runtime_class_name` is the class of a runtime that can restore, where that
    /// is not the pods' own.
    #[must_use]
    pub fn new(
        client: &Client,
        plan: &Plan,
        agent: Arc<dyn CheckpointSource>,
        nodes: Arc<dyn NodeTargets>,
        runtime_class_name: Option<&str>,
    ) -> Self {
        let mut source = KubeSource::new(client, plan, agent);
        if let Some(name) = runtime_class_name {
            source = source.with_runtime_class_name(name);
        }
        let source = Arc::new(source);
        if plan.strategy.has_successor() {
            let target = Arc::new(SuccessorTarget::new(client, plan, nodes, Arc::clone(&source), runtime_class_name));
            return Self { source, target };
        }
        let mut target = KubeTarget::new(client, plan, nodes);
        if let Some(name) = runtime_class_name {
            target = target.with_runtime_class_name(name);
        }
        Self { source, target: Arc::new(target) }
    }

    /// The same where the node's container runtime makes the copy, from an image of the checkpoint: for the pods of Deployments, and bare ones.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for the pods of StatefulSets.
    pub fn from_image(client: &Client, plan: &Plan, agent: Arc<dyn CheckpointSource>, nodes: Arc<dyn NodeTargets>) -> Result<Self> {
        if plan.strategy != Strategy::Shadow {
            let message = "restoreDriver: pods of StatefulSets are restored by ms2m-runtime only; write Auto or Runtime";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("pod", &plan.spec.source_pod));
        }
        let source = Arc::new(KubeSource::new(client, plan, agent));
        Ok(Self { source, target: Arc::new(KubeTarget::new(client, plan, nodes).from_image()) })
    }
}
