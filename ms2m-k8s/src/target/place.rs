//! The copy's pod comes to be, and its node waits for the checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use ms2m_core::{Error, ErrorKind, RestoreJob, RestoreTarget, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::image::wait_for_image;
use super::promote::Becomes;
use super::{BECOMES, KubeTarget, MANAGER, Placed, has_ended};
use crate::api::{BASE_IMAGE, StatefulMigration};
use crate::error;
use crate::owner::Owner;
use crate::pod::{Copy, SourcePod};
use crate::watch::{Look, until};

/// The reason of a container whose image is not there, and must not be pulled.
const NO_IMAGE: &str = "ErrImageNeverPull";
/// Reasons of a waiting container that no waiting mends.
const HOPELESS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    NO_IMAGE,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

impl KubeTarget {
    pub(super) async fn make(&self, job: &RestoreJob, end: Instant) -> Result<()> {
        match self.copy().await? {
            Some(pod) if pod.metadata.deletion_timestamp.is_none() => {}
            before => {
                if let Some(before) = before {
                    // That of an attempt before this one.
                    self.removed(&before, end.saturating_duration_since(Instant::now())).await?;
                }
                self.apply().await?;
            }
        }
        let (placed, images) = self.scheduled(end - Instant::now()).await?;
        self.publish(&placed).await?;
        if self.comes_up_soon(&placed, &images).await? {
            // The checkpoint may come before the pod is there.
            let expected = Placed { pod_uid: None, ..placed };
            return self.nodes.target(&expected).await?.prepare(job).await;
        }
        self.waits(&placed, job, end).await
    }

    /// The pod's container has come to where it is restored.
    pub(super) async fn comes_up(&self, job: &RestoreJob, end: Instant) -> Result<()> {
        let placed = self.copy().await?.as_ref().and_then(|pod| self.placed(pod)).ok_or_else(|| deleted(&self.plan.copy_pod))?;
        self.waits(&placed, job, end).await
    }

    async fn waits(&self, placed: &Placed, job: &RestoreJob, end: Instant) -> Result<()> {
        let agent = self.nodes.target(placed).await?;
        *self.agent.lock().await = Some(Arc::clone(&agent));
        let pod = (&self.pods, placed.pod.as_str(), placed.pod_uid.as_deref());
        node_waits(&*agent, job, pod, end).await
    }

    /// Whether its node says that it has the copy's images. What remains is a matter of a moment, and nothing that may take minutes: so long the source would
    /// go on, and the copy would have to do all of that again.
    async fn comes_up_soon(&self, placed: &Placed, images: &[String]) -> Result<bool> {
        if self.from_image {
            // Nobody has that image before there is a checkpoint.
            return Ok(false);
        }
        let nodes: Api<Node> = Api::all(self.client());
        let node = nodes.get_opt(&placed.node).await.map_err(|error| error::api(error, "read the node of the copy"))?;
        let known = node.and_then(|node| node.status).and_then(|status| status.images).unwrap_or_default();
        let there: BTreeSet<&String> = known.iter().flat_map(|image| image.names.iter().flatten()).collect();
        Ok(images.iter().all(|image| there.contains(image)))
    }

    async fn apply(&self) -> Result<()> {
        let plan = &self.plan;
        let source = SourcePod::read(&self.client(), &plan.namespace, &plan.spec.source_pod).await?;
        if source.uid() != plan.source_uid {
            let message = "the source's pod is another one than at the beginning";
            return Err(Error::undo(ErrorKind::NotFound, message).with("pod", source.name()));
        }
        let becomes = Becomes::of(&source, &Owner::of(&self.client(), source.pod()).await?)?;
        let copy = Copy {
            migration: &plan.migration,
            name: &plan.copy_pod,
            target_node: plan.spec.target_node.as_deref(),
            runtime_class_name: self.runtime_class_name.as_deref(),
            waits: if self.from_image { &[] } else { &plan.containers },
        };
        let mut pod = copy.of(&source)?;
        if self.from_image {
            wait_for_image(&mut pod, &plan.migration, &plan.container)?;
        }
        pod["metadata"]["annotations"][BECOMES] = becomes.text()?.into();
        let pods: Api<DynamicObject> = Api::namespaced_with(self.client(), &plan.namespace, &ApiResource::erase::<Pod>(&()));
        let applied = pods.patch(&plan.copy_pod, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&pod)).await;
        applied.map(drop).map_err(|error| error::api(error, "create the copy's pod").with("pod", &plan.copy_pod))
    }

    /// Where it comes to be, and the images of its containers.
    async fn scheduled(&self, limit: Duration) -> Result<(Placed, Vec<String>)> {
        until(&self.pods, &self.plan.copy_pod, limit, "a node for the copy", |pod| {
            let pod = pod.ok_or_else(|| deleted(&self.plan.copy_pod))?;
            if let Some(error) = broken(pod) {
                return Err(error);
            }
            Ok(match self.placed(pod) {
                Some(placed) => {
                    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
                    Look::Found((placed, containers.map(|container| container.image.clone().unwrap_or_default()).collect()))
                }
                None => Look::NotYet(unscheduled(pod)),
            })
        })
        .await
    }

    /// Where the copy was to be, as far as its node may have been told.
    pub(super) async fn published(&self) -> Result<Option<Placed>> {
        let resources: Api<StatefulMigration> = Api::namespaced(self.client(), &self.plan.namespace);
        let found = resources.get_opt(&self.plan.resource).await.map_err(|error| error::api(error, "read where the copy is"))?;
        let ours = found.filter(|found| found.metadata.uid.as_deref() == Some(self.plan.migration.as_str()));
        let node = ours.and_then(|ours| ours.status).and_then(|status| status.target_node);
        let (namespace, pod, containers) = (self.plan.namespace.clone(), self.plan.copy_pod.clone(), self.plan.containers.clone());
        Ok(node.map(|node| Placed { node, namespace, pod, pod_uid: None, containers, base_image: None }))
    }

    /// Says where the copy is, before its node is asked for anything: that is what the node's agent goes by.
    async fn publish(&self, placed: &Placed) -> Result<()> {
        let resources: Api<StatefulMigration> = Api::namespaced(self.client(), &self.plan.namespace);
        let status =
            json!({ "metadata": { "uid": self.plan.migration }, "status": { "targetNode": placed.node, "targetPod": placed.pod } });
        let patched = resources.patch_status(&self.plan.resource, &PatchParams::default(), &Patch::Merge(&status)).await;
        patched.map(drop).map_err(|error| error::api(error, "tell the copy's node in the status"))
    }
}

/// The node waits in this pod, of this UID, for the checkpoint; or it is said why the pod cannot come to be any more.
pub(super) async fn node_waits(
    agent: &dyn RestoreTarget,
    job: &RestoreJob,
    (pods, name, uid): (&Api<Pod>, &str, Option<&str>),
    end: Instant,
) -> Result<()> {
    let rest = end.saturating_duration_since(Instant::now());
    let job = RestoreJob { deadline: rest, ..job.clone() };
    while_it_comes(agent.prepare(&job), (pods, name, uid), rest, "the node to wait for the checkpoint").await
}

/// What the node does within this pod, of this UID; or it is said why the pod cannot come to be any more.
pub(super) async fn while_it_comes<T>(
    node: impl Future<Output = Result<T>>,
    (pods, name, uid): (&Api<Pod>, &str, Option<&str>),
    within: Duration,
    what: &str,
) -> Result<T> {
    let breaks = until(pods, name, within, what, |pod| {
        let pod = pod.filter(|pod| uid.is_none() || pod.metadata.uid.as_deref() == uid).ok_or_else(|| deleted(name))?;
        match broken(pod) {
            Some(error) => Err(error),
            None => Ok(Look::<std::convert::Infallible>::NotYet(standing(pod))),
        }
    });
    tokio::select! {
        done = node => done,
        broken = breaks => match broken {
            Err(error) => Err(error),
            Ok(never) => match never {},
        },
    }
}

fn deleted(pod: &str) -> Error {
    Error::undo(ErrorKind::NotFound, "somebody has deleted the copy's pod").with("pod", pod)
}

/// Why a pod will not come to be.
pub(crate) fn broken(pod: &Pod) -> Option<Error> {
    let status = pod.status.as_ref()?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(deleted(name));
    }
    if has_ended(pod) {
        let why = [status.reason.as_deref(), status.message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Some(Error::undo(ErrorKind::Unavailable, format!("the copy's pod has failed: {why}")).with("pod", name));
    }
    let waiting = status.container_statuses.iter().flatten().filter_map(|of| Some((&of.name, of.state.as_ref()?.waiting.as_ref()?)));
    // A copy that is made from an image has none for as long as there is no checkpoint.
    let comes = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(BASE_IMAGE));
    let hopeless = |reason: &str| HOPELESS.contains(&reason) && !(comes && reason == NO_IMAGE);
    waiting
        .filter(|(_, waiting)| waiting.reason.as_deref().is_some_and(hopeless))
        .map(|(container, waiting)| {
            let (reason, why) = (waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default());
            Error::undo(ErrorKind::Unavailable, format!("container {container} of the copy cannot be made: {reason}: {why}"))
                .with("pod", name)
        })
        .next()
}

pub(crate) fn unscheduled(pod: &Pod) -> String {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = conditions.filter(|condition| condition.type_ == "PodScheduled").find_map(|condition| condition.message.clone());
    told.unwrap_or_else(|| "the scheduler has said nothing".to_owned())
}

/// What its containers do, in a few words.
pub(crate) fn standing(pod: &Pod) -> String {
    let raw = serde_json::to_value(&pod.status).unwrap_or_default();
    let of = |status: &Value| {
        let state = status["state"].as_object().and_then(|state| state.iter().next()).map_or("unknown", |(state, _)| state.as_str());
        let reason = status["state"][state]["reason"].as_str().unwrap_or_default();
        format!("{} is {state} {reason}", status["name"].as_str().unwrap_or_default()).trim_end().to_owned()
    };
    let all: Vec<String> = raw["containerStatuses"].as_array().into_iter().flatten().map(of).collect();
    if all.is_empty() { "its node has not said anything of its containers".to_owned() } else { all.join(", ") }
}
