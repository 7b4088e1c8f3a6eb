//! [`Chosen`]: who takes the checkpoint, and who restores it.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::{BASE_IMAGE, CheckpointDriver, RestoreDriver};
use ms2m_k8s::{Plan, Strategy};
use ms2m_remote::{Taker, restores};

use super::nodes::Nodes;

/// The drivers of one migration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    pub(super) taker: Taker,
    /// The container runtime restores, and not ms2m-runtime.
    pub(super) from_image: bool,
}

impl Chosen {
    /// What is asked for, or what the nodes can do. The same again after a restart: a copy's pod tells what it is.
    pub(super) async fn of(client: &Client, nodes: &Nodes, plan: &Plan) -> Result<Self> {
        let spec = &plan.spec;
        let from_image = match (spec.restore_driver, spec.checkpoint_driver) {
            (RestoreDriver::Image, _) => true,
            (RestoreDriver::Runtime, CheckpointDriver::Kubelet) => {
                let message = "checkpointDriver: ms2m-runtime restores what the node's agent has taken; write Auto or Runtime, or restoreDriver: Image";
                return Err(Error::fatal(ErrorKind::Unsupported, message));
            }
            (RestoreDriver::Runtime, _) => false,
            (RestoreDriver::Auto, CheckpointDriver::Kubelet) => true,
            (RestoreDriver::Auto, _) => plan.strategy == Strategy::Shadow && only_from_images(client, nodes, plan).await?,
        };
        if from_image && plan.containers.len() > 1 {
            let message = "restoreDriver: the target node has no ms2m-runtime, and an image is of one container; install it there, name another node, or let \
                           one container move";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("containers", plan.containers.join(", ")));
        }
        if from_image && spec.pre_dump.enabled {
            let message = "preDump: a checkpoint that becomes an image travels whole; leave it out, or write restoreDriver: Runtime";
            return Err(Error::fatal(ErrorKind::Unsupported, message));
        }
        let taker = match (from_image, spec.checkpoint_driver) {
            (_, CheckpointDriver::Kubelet) => Taker::Kubelet,
            (true, _) => Taker::AgentForImage,
            (false, _) => Taker::Agent,
        };
        Ok(Self { taker, from_image })
    }
}

/// Whether the target node has no ms2m-runtime, but a container runtime that restores. Where no node is named, the scheduler finds one for ms2m-runtime.
async fn only_from_images(client: &Client, nodes: &Nodes, plan: &Plan) -> Result<bool> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &plan.namespace);
    let cannot = |error| Error::retry(ErrorKind::Unavailable, "the copy's pod cannot be looked at").caused_by(error);
    if let Some(copy) = pods.get_metadata_opt(&plan.copy_pod).await.map_err(cannot)? {
        return Ok(copy.metadata.annotations.is_some_and(|annotations| annotations.contains_key(BASE_IMAGE)));
    }
    let Some(node) = plan.spec.target_node.as_deref() else { return Ok(false) };
    let asked = async { restores(&nodes.caller(node).await?).await };
    match asked.await {
        Ok(can) => Ok(can.image && !can.runtime),
        Err(error) => {
            // Whether it can be reached at all is seen when the copy is prepared, and told there.
            tracing::info!(migration = %plan.migration, node, %error, "the target's agent does not say what it restores by");
            Ok(false)
        }
    }
}
