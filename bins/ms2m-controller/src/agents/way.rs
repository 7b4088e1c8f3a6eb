//! [`WayTo`]: how the checkpoint of one migration gets to its target.

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::Plan;
use ms2m_k8s::api::TransferMode;
use ms2m_remote::{Way, recipient};
use tokio::sync::Mutex;

use super::nodes::Nodes;

/// Asked for once, while the copy's pod is made, and then known.
#[derive(Debug)]
pub(super) struct WayTo {
    nodes: Nodes,
    mode: TransferMode,
    repository: Option<String>,
    known: Mutex<Option<(String, Way)>>,
}

impl WayTo {
    pub(super) fn new(nodes: Nodes, plan: &Plan) -> Self {
        let repository = plan.spec.checkpoint_image_repository.clone();
        Self { nodes, mode: plan.spec.transfer_mode, repository, known: Mutex::default() }
    }

    /// To this node.
    pub(super) async fn to(&self, node: &str) -> Result<Way> {
        let mut known = self.known.lock().await;
        if let Some((to, way)) = &*known
            && to == node
        {
            return Ok(way.clone());
        }
        let way = self.find(node).await?;
        *known = Some((node.to_owned(), way.clone()));
        Ok(way)
    }

    async fn find(&self, node: &str) -> Result<Way> {
        match self.mode {
            TransferMode::Direct => Ok(Way::Direct { url: self.nodes.url(node).await?, node: node.to_owned() }),
            TransferMode::SharedVolume => Ok(Way::SharedVolume),
            TransferMode::Registry => {
                let repository = self
                    .repository
                    .clone()
                    .ok_or_else(|| Error::fatal(ErrorKind::Invalid, "checkpointImageRepository is required with transferMode Registry"))?;
                Ok(Way::Registry { repository, recipient: recipient(&self.nodes.caller(node).await?).await? })
            }
        }
    }
}
