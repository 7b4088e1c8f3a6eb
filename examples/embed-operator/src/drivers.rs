//! The drivers that this operator gives a migration.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::QueueKind;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{CheckpointCapability, Drivers, Error, ErrorKind, RestoreTarget, Result};
use ms2m_k8s::pod::SourcePod;
use ms2m_k8s::{DriverFactory, NodeTargets, Placed, Plan, PodDrivers, Strategy};
use ms2m_remote::{Member, RemoteSource, RemoteTarget, RemoteTransfer, SourcePlace, Taker, TargetPlace, Way};
use ms2m_transfer_direct::{Caller, Credentials};

/// What its drivers need.
#[derive(Clone)]
pub(crate) struct Mine {
    client: Client,
    credentials: Credentials,
    broker: String,
}

impl std::fmt::Debug for Mine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mine")
    }
}

impl Mine {
    pub(crate) fn new(client: Client, credentials: Credentials, broker: String) -> Self {
        Self { client, credentials, broker }
    }

    /// Where a node's agent is, and how to ask it.
    async fn agent(&self, node: &str) -> Result<(String, Caller)> {
        let away = |error| Error::retry(ErrorKind::Unavailable, "the node cannot be looked at").with("node", node).caused_by(error);
        let found = Api::<Node>::all(self.client.clone()).get(node).await.map_err(away)?;
        let addresses = found.status.and_then(|status| status.addresses).unwrap_or_default();
        let address = addresses.into_iter().find(|address| address.type_ == "InternalIP");
        let address = address.ok_or_else(|| Error::fatal(ErrorKind::Unsupported, "the node has no internal address").with("node", node))?;
        let url = format!("https://{}:9443", address.address);
        let caller = Caller::new(&url, node, self.credentials.clone())?;
        Ok((url, caller))
    }

    /// The running container of the source; `None` when it is gone, as after a crash of this operator it may be.
    async fn container_id(&self, plan: &Plan) -> Result<Option<String>> {
        let pod = match SourcePod::read(&self.client, &plan.namespace, &plan.spec.source_pod).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            pod => pod?,
        };
        let status = pod.status_of(&plan.container).filter(|_| pod.uid() == plan.source_uid);
        let running = status.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
        Ok(running.and_then(|status| Some(status.container_id.as_ref()?.split_once("://")?.1.to_owned())))
    }
}

#[async_trait]
impl DriverFactory for Mine {
    async fn drivers(&self, plan: &Plan) -> Result<Drivers> {
        let refuse = |message: &str| Error::fatal(ErrorKind::Unsupported, message.to_owned());
        let to = plan.spec.target_node.clone();
        let to = to.ok_or_else(|| refuse("name the target node: this operator leaves it to nobody else"))?;
        if plan.strategy != Strategy::Shadow {
            return Err(refuse("this operator moves no pods of StatefulSets"));
        }
        let (_, from_agent) = self.agent(&plan.source_node).await?;
        let (url, _) = self.agent(&to).await?;

        let id = self.container_id(plan).await?;
        let gone = id.is_none();
        let member = Member { name: plan.container.clone(), id: id.unwrap_or_else(|| format!("gone-{}", plan.migration)) };
        let (migration, namespace, pod) = (plan.migration.clone(), plan.namespace.clone(), plan.spec.source_pod.clone());
        let place = SourcePlace { migration, namespace, pod, members: vec![member], taker: Taker::Agent };
        let source = if gone {
            // All there is left to do for it is to say so, and to clean up.
            let capability = CheckpointCapability { leave_running: true, ..CheckpointCapability::default() };
            RemoteSource::resumed(from_agent.clone(), place.clone(), "runtime", capability)
        } else {
            RemoteSource::open(from_agent.clone(), place.clone()).await?
        };
        let transfer = RemoteTransfer::new(from_agent, place, Way::Direct { url, node: to }, self.credentials.clone());
        let nodes = Nodes { mine: self.clone(), plan: plan.clone() };
        let PodDrivers { source, target } = PodDrivers::new(&self.client, plan, Arc::new(source), Arc::new(nodes), None);
        let management = plan.spec.message_queue_config.management_url.as_deref();
        let broker = RabbitMq::new(RabbitMqConfig::new(&self.broker)?.with_management_or_default(management)?)?;
        let queue = plan.spec.message_queue_config.queue_name.clone();
        Ok(Drivers {
            source,
            transfer: Arc::new(transfer),
            target,
            broker: Arc::new(JournalBroker::new(Arc::new(broker), queue, JournalOptions::new(QueueKind::Quorum, false))),
        })
    }
}

/// Who restores on the node to which the copy's pod has come.
#[derive(Debug)]
struct Nodes {
    mine: Mine,
    plan: Plan,
}

#[async_trait]
impl NodeTargets for Nodes {
    fn name(&self) -> &'static str {
        "runtime"
    }

    async fn target(&self, placed: &Placed) -> Result<Arc<dyn RestoreTarget>> {
        let (url, agent) = self.mine.agent(&placed.node).await?;
        let place = TargetPlace {
            migration: self.plan.migration.clone(),
            namespace: placed.namespace.clone(),
            pod: placed.pod.clone(),
            pod_uid: placed.pod_uid.clone().unwrap_or_default(),
            containers: placed.containers.clone(),
            image: None,
            from_node: self.plan.source_node.clone(),
        };
        Ok(Arc::new(RemoteTarget::new(agent, place, Way::Direct { url, node: placed.node.clone() })))
    }
}
