//! What a node is called by selectors.

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use ms2m_core::Result;

use crate::error;

/// The label by which pods choose a node.
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// The node's value of that label: mostly its name.
pub(crate) async fn hostname(client: &Client, node: &str) -> Result<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.get(node).await.map_err(|error| error::api(error, "read the target node").with("node", node))?;
    Ok(found.metadata.labels.unwrap_or_default().remove(HOSTNAME).unwrap_or_else(|| node.to_owned()))
}
