//! [`KubeSource`]: the source's pod around its container.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, PreDump, Result,
    SourceStatus,
};

use crate::answer::answer;
use crate::error;
use crate::home::WayHome;
use crate::owner::controller;
use crate::plan::Plan;
use crate::strategy::Strategy;
use crate::watch::{Look, kubelet_ends, until};

/// How long the kubelet may take to begin to end a pod that is deleted.
const KUBELET: Duration = Duration::from_secs(5);
/// How long a ReplicaSet may take to retire the source before it is deleted here.
const REPLICA_SET: Duration = Duration::from_secs(5);

/// The source in its pod: what concerns the container goes to the agent of its node, what concerns the pod to the API server.
///
/// A pod that is gone, or has failed or succeeded, counts as ended when the agent cannot say: that is what Kubernetes itself goes by. Who deletes a
/// pod by force says by that to everybody that none of its processes is left.
#[derive(Debug)]
pub struct KubeSource {
    pods: Api<Pod>,
    events: Api<Event>,
    name: String,
    uid: String,
    agent: Arc<dyn CheckpointSource>,
    /// Where the state goes on to when the copy stands in for this pod.
    home: Option<WayHome>,
}

/// Where the pod stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Gone,
    Ends,
    Lives { has_owner: bool },
}

impl KubeSource {
    /// The source of a plan, whose container `agent` looks after.
    #[must_use]
    pub fn new(client: &Client, plan: &Plan, agent: Arc<dyn CheckpointSource>) -> Self {
        let (pods, events) = (Api::namespaced(client.clone(), &plan.namespace), Api::namespaced(client.clone(), &plan.namespace));
        let home = matches!(plan.strategy, Strategy::StandIn { .. }).then(|| WayHome::new(client, plan));
        Self { pods, events, name: plan.spec.source_pod.clone(), uid: plan.source_uid.clone(), agent, home }
    }

    /// With a class of runtime that can restore, for a pod that a StatefulSet makes in place of this one.
    #[must_use]
    pub fn with_runtime_class_name(mut self, name: &str) -> Self {
        self.home = self.home.map(|home| home.with_runtime_class_name(name));
        self
    }

    fn standing(&self, pod: Option<&Pod>) -> Standing {
        let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(self.uid.as_str())) else { return Standing::Gone };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Failed" | "Succeeded")) {
            return Standing::Gone;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            Standing::Ends
        } else {
            Standing::Lives { has_owner: controller(&pod.metadata).is_some() }
        }
    }

    async fn look(&self) -> Result<Standing> {
        let pod = self.pods.get_opt(&self.name).await.map_err(|error| error::api(error, "read the source's pod"))?;
        Ok(self.standing(pod.as_ref()))
    }

    /// Its owner lets it go, or it is deleted here. On `Ok` it is gone, or marked as ending.
    async fn let_go(&self) -> Result<Standing> {
        let standing = self.look().await?;
        let Standing::Lives { has_owner } = standing else { return Ok(standing) };
        if has_owner {
            let retired = until(&self.pods, &self.name, REPLICA_SET, "the ReplicaSet to retire the source", |pod| {
                Ok(match self.standing(pod) {
                    Standing::Lives { .. } => Look::NotYet("it runs".to_owned()),
                    standing => Look::Found(standing),
                })
            });
            match retired.await {
                Ok(standing) => return Ok(standing),
                // It may want one more by now, or have taken another one away.
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    tracing::info!(pod = self.name, "its ReplicaSet has kept the source: it is deleted");
                }
                Err(error) => return Err(error),
            }
        }
        self.delete(None).await?;
        self.look().await
    }

    async fn delete(&self, grace_seconds: Option<u32>) -> Result<()> {
        let only_this = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let parameters = DeleteParams { grace_period_seconds: grace_seconds, ..DeleteParams::default() }.preconditions(only_this);
        match self.pods.delete(&self.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error::api(error, "delete the source's pod").with("pod", &self.name)),
        }
    }

    /// One that ended before its kubelet has begun to end the pod would start again: with no state, as a second consumer.
    async fn end_container_of_ending_pod(&self, migration: &MigrationId) -> Result<()> {
        kubelet_ends(&self.events, &self.uid, KUBELET).await;
        self.end_container(migration).await
    }

    /// Ends it for certain.
    async fn end_container(&self, migration: &MigrationId) -> Result<()> {
        match self.agent.retire(migration).await {
            Err(error) if self.look().await? != Standing::Gone => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Ends it at once, and makes its name free: the pod is marked, then its container is ended for certain, and then nothing is left to wait for.
    pub(crate) async fn end(&self, migration: &MigrationId) -> Result<()> {
        if self.look().await? == Standing::Gone {
            return Ok(());
        }
        self.delete(None).await?;
        self.end_container_of_ending_pod(migration).await?;
        self.delete(Some(0)).await
    }
}

#[async_trait]
impl CheckpointSource for KubeSource {
    fn name(&self) -> &'static str {
        self.agent.name()
    }

    fn capability(&self) -> CheckpointCapability {
        self.agent.capability()
    }

    async fn status(&self) -> Result<SourceStatus> {
        match answer(self.agent.status()).await {
            Ok(status) => Ok(status),
            Err(error) => match self.look().await? {
                Standing::Gone => Ok(SourceStatus::Gone),
                Standing::Ends | Standing::Lives { .. } => Err(error),
            },
        }
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        self.agent.pre_dump(job, round).await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.agent.checkpoint(job).await
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        self.agent.open(checkpoint, offset_bytes).await
    }

    /// First the pod is marked as ending, then its kubelet hears of that, then the container is ended: in any other order it would start again.
    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        if let Some(home) = &self.home {
            // Before the StatefulSet can make it anew.
            home.open().await?;
            return self.end(migration).await;
        }
        let standing = self.let_go().await?;
        match standing {
            // Whoever has removed it has said that nothing of it is left; where its node can be reached that is made sure of.
            Standing::Gone => answer(self.agent.retire(migration)).await.or(Ok(())),
            Standing::Ends => self.end_container_of_ending_pod(migration).await,
            Standing::Lives { .. } => {
                Err(Error::retry(ErrorKind::Unavailable, "the source's pod is not being deleted").with("pod", &self.name))
            }
        }
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.agent.discard(migration).await
    }
}
