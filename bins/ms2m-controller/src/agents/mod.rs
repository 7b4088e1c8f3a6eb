//! The drivers of a migration, which the agents of its nodes have.

mod broker;
mod chosen;
mod nodes;
mod target;
mod transfer;
mod way;

use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;
use ms2m_core::{CheckpointCapability, CheckpointSource, Drivers, ErrorKind, MigrationId, Result};
use ms2m_k8s::pod::SourcePod;
use ms2m_k8s::{DriverFactory, Plan, PodDrivers};
use ms2m_remote::{Member, RemoteSource, SourcePlace, Taker};

use self::chosen::Chosen;
pub(crate) use self::nodes::Nodes;
use self::target::AgentTargets;
use self::transfer::LaterTransfer;
use self::way::WayTo;

/// Gives the drivers that agents have.
#[derive(Clone, Debug)]
pub(crate) struct Agents {
    client: Debugless,
    nodes: Nodes,
    runtime_class: Option<String>,
}

/// A client has nothing to show.
#[derive(Clone)]
struct Debugless(Client);

impl std::fmt::Debug for Debugless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Agents {
    /// `runtime_class` is the class of the nodes' ms2m-runtime, where that is not their usual one.
    pub(crate) fn new(client: Client, nodes: Nodes, runtime_class: Option<String>) -> Self {
        Self { client: Debugless(client), nodes, runtime_class }
    }

    async fn source(&self, plan: &Plan, place: &SourcePlace, known: bool) -> Result<Arc<dyn CheckpointSource>> {
        let agent = self.nodes.caller(&plan.source_node).await?;
        if known {
            return Ok(Arc::new(RemoteSource::open(agent, place.clone()).await?));
        }
        // What there is to do for it is to say that it is gone, and to clean up.
        let capability = CheckpointCapability { leave_running: true, ..CheckpointCapability::default() };
        let name = if place.taker == Taker::Kubelet { "kubelet" } else { "runtime" };
        Ok(Arc::new(RemoteSource::resumed(agent, place.clone(), name, capability)))
    }

    /// What is checkpointed, and whether its pod is still there.
    async fn place(&self, plan: &Plan, taker: Taker) -> Result<(SourcePlace, bool)> {
        let pod = match SourcePod::read(&self.client.0, &plan.namespace, &plan.spec.source_pod).await {
            Ok(pod) => Some(pod).filter(|pod| pod.uid() == plan.source_uid),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let ids: Vec<_> = plan.containers.iter().map(|name| pod.as_ref().and_then(|pod| container_id(pod, name))).collect();
        let known = ids.iter().any(Option::is_some);
        let member = |(name, id): (&String, Option<String>)| Member { name: name.clone(), id: id.unwrap_or_else(|| gone(&plan.migration)) };
        let members = plan.containers.iter().zip(ids).map(member).collect();
        let (migration, namespace, pod) = (plan.migration.clone(), plan.namespace.clone(), plan.spec.source_pod.clone());
        Ok((SourcePlace { migration, namespace, pod, members, taker }, known))
    }
}

/// Of a running container, without the name of its engine.
fn container_id(pod: &SourcePod, container: &str) -> Option<String> {
    let status = pod.status_of(container)?;
    status.state.as_ref()?.running.as_ref()?;
    Some(status.container_id.as_ref()?.split_once("://")?.1.to_owned())
}

/// An id that no container has.
fn gone(migration: &MigrationId) -> String {
    format!("gone-{migration}")
}

#[async_trait]
impl DriverFactory for Agents {
    async fn drivers(&self, plan: &Plan) -> Result<Drivers> {
        let (chosen, broker) = tokio::try_join!(Chosen::of(&self.client.0, &self.nodes, plan), broker::broker(&self.client.0, plan))?;
        let (place, known) = self.place(plan, chosen.taker).await?;
        let agent = self.source(plan, &place, known).await?;
        let way = Arc::new(WayTo::new(self.nodes.clone(), plan));
        let targets = Arc::new(AgentTargets::new(self.nodes.clone(), plan, Arc::clone(&way), chosen.from_image));
        let transfer = LaterTransfer::new(self.nodes.clone(), plan, place, Arc::clone(&targets), way);
        let PodDrivers { source, target } = if chosen.from_image {
            PodDrivers::from_image(&self.client.0, plan, agent, targets)?
        } else {
            PodDrivers::new(&self.client.0, plan, agent, targets, self.runtime_class.as_deref())
        };
        Ok(Drivers { source, transfer: Arc::new(transfer), target, broker })
    }
}
