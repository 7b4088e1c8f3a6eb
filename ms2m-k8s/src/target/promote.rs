//! The copy becomes the workload's own pod.
//!
//! A ReplicaSet that has one pod too many deletes those first that are not Ready, and looks at the deletion cost only then. So:
//!
//! 1. the source gets the lowest deletion cost, where the ReplicaSet could take another pod away in its stead;
//! 2. meanwhile the copy becomes Ready, still unseen;
//! 3. one patch gives it the source's labels, takes away what would restore it once more, and makes it the last to be deleted, should the source be gone
//!    by then and another pod in its place;
//! 4. the ReplicaSet adopts it, and retires the source;
//! 5. where that is asked for, the Deployment is [pinned](crate::pin) to the copy's node.
//!
//! Each step looks whether it is done, so all of it can be repeated, also when the source is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use ms2m_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::image::LOADED;
use super::place::standing;
use super::{BECOMES, KubeTarget, MOVED_BY};
use crate::api::{MIGRATION_LABEL, Placement, RESTORE_CONTAINER, RESTORE_FROM, STANDS_IN_FOR};
use crate::error;
use crate::owner::{Owner, controller};
use crate::pin::Pin;
use crate::pod::SourcePod;
use crate::watch::{Look, until};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Labels that a StatefulSet gives to each of its own pods.
const OF_A_STATEFUL_SET: [&str; 3] = ["controller-revision-hash", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];
const LOWEST: &str = "-2147483648";
const HIGHEST: &str = "2147483647";
/// How long each wait may take within one call, which is repeated until all is done.
const PATIENCE: Duration = Duration::from_secs(6);

/// What a copy becomes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Becomes {
    labels: BTreeMap<String, String>,
    replica_set: Option<Adopts>,
    /// Whether the source has no deletion cost of its own: then it costs less than the copy as it is.
    #[serde(default)]
    source_costs_nothing: bool,
    /// The StatefulSet's pod that it stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stands_in_for: Option<String>,
}

/// Who shall adopt it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Adopts {
    name: String,
    uid: String,
}

impl Becomes {
    pub(super) fn of(source: &SourcePod, owner: &Owner) -> Result<Self> {
        let mut labels = source.pod().metadata.labels.clone().unwrap_or_default();
        let source_costs_nothing = source.annotation(DELETION_COST).is_none();
        let mut stands_in_for = None;
        let replica_set = match owner {
            Owner::ReplicaSet(set) if !set.selects(&labels) => {
                let message = "the source has lost labels by which its ReplicaSet knows it: it could not adopt the copy";
                return Err(Error::fatal(ErrorKind::Invalid, message).with("replica set", &set.name));
            }
            Owner::ReplicaSet(set) => Some(Adopts { name: set.name.clone(), uid: set.uid.clone() }),
            Owner::Bare => None,
            // It adopts no pod of another name, so the copy only serves for it.
            Owner::StatefulSet { .. } => {
                labels.retain(|label, _| !OF_A_STATEFUL_SET.contains(&label.as_str()));
                stands_in_for = Some(source.name().to_owned());
                None
            }
        };
        Ok(Self { labels, replica_set, source_costs_nothing, stands_in_for })
    }

    pub(super) fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::fatal(ErrorKind::Invariant, "the labels make no JSON").caused_by(error))
    }

    fn kept(pod: &Pod) -> Result<Option<Self>> {
        let Some(text) = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(BECOMES)) else { return Ok(None) };
        let damaged =
            |error| Error::fatal(ErrorKind::Corrupt, format!("annotation {BECOMES} of the copy was changed by hand")).caused_by(error);
        serde_json::from_str(text).map(Some).map_err(damaged)
    }
}

impl KubeTarget {
    pub(super) async fn give_over(&self) -> Result<()> {
        let name = &self.plan.copy_pod;
        let copy = self.copy().await?.ok_or_else(|| gone(name))?;
        let Some(becomes) = Becomes::kept(&copy)? else { return Ok(()) };
        if is_hidden(&copy) {
            let source = async {
                if let Some(set) = &becomes.replica_set {
                    let wanted = self.wanted_by(set).await?;
                    // A pod that was changed just before it is deleted is ended up to a second later: its kubelet looks first what has come of the change.
                    if wanted > 1 || !becomes.source_costs_nothing {
                        self.cheapen_source().await?;
                    }
                }
                Ok(())
            };
            try_join(source, is_ready(&self.pods, name)).await?;
            let mut labels: BTreeMap<&str, Option<&str>> =
                becomes.labels.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
            labels.insert(MIGRATION_LABEL, None);
            let annotations = json!({
                RESTORE_FROM: null, RESTORE_CONTAINER: null, LOADED: null, MOVED_BY: self.plan.migration, DELETION_COST: HIGHEST,
                STANDS_IN_FOR: becomes.stands_in_for,
            });
            self.patch_copy(&copy, &json!({ "labels": labels, "annotations": annotations }), "give the copy its labels").await?;
        }
        if let Some(set) = &becomes.replica_set {
            until(&self.pods, name, PATIENCE, "the ReplicaSet to adopt the copy", |pod| {
                let pod = pod.ok_or_else(|| gone(name))?;
                Ok(match controller(&pod.metadata) {
                    Some(owner) if owner.uid == set.uid => Look::Found(()),
                    Some(owner) => Look::NotYet(format!("{} {} has adopted it", owner.kind, owner.name)),
                    None => Look::NotYet("it has no owner".to_owned()),
                })
            })
            .await?;
            if let (Placement::Pin, Some(deployment)) = (self.plan.spec.placement, &self.plan.deployment) {
                let node = copy.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
                let pin = Pin::new(&self.client(), &self.plan.namespace, deployment, (&set.name, &set.uid));
                pin.pin(&self.client(), &self.plan.migration, node, PATIENCE).await?;
            }
        }
        self.patch_copy(&copy, &json!({ "annotations": { BECOMES: null, DELETION_COST: null } }), "finish the promotion").await
    }

    /// How many pods the ReplicaSet shall have. One that shall have none, because a rollout has begun, would delete the copy as soon as it has adopted it.
    async fn wanted_by(&self, adopts: &Adopts) -> Result<i32> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client(), &self.plan.namespace);
        let set = sets.get_opt(&adopts.name).await.map_err(|error| error::api(error, "read the ReplicaSet"))?;
        let wanted = set
            .filter(|set| set.metadata.uid.as_deref() == Some(adopts.uid.as_str()) && set.metadata.deletion_timestamp.is_none())
            .and_then(|set| set.spec)
            .map_or(0, |spec| spec.replicas.unwrap_or(1));
        if wanted > 0 {
            return Ok(wanted);
        }
        let message = "the ReplicaSet of the source wants no pods any more: the workload was changed, scaled to 0 or deleted during the migration. \
                       The copy owns the queue and stays, hidden: roll back the change, or delete the copy's pod when its state is not needed";
        Err(Error::retry(ErrorKind::Unavailable, message).with("replica set", &adopts.name).with("pod", &self.plan.copy_pod))
    }

    async fn cheapen_source(&self) -> Result<()> {
        let patch = json!({ "metadata": { "uid": self.plan.source_uid, "annotations": { DELETION_COST: LOWEST } } });
        match self.pods.patch_metadata(&self.plan.spec.source_pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            // Gone, or another one of its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error::api(error, "lower the deletion cost of the source")),
        }
    }

    pub(super) async fn patch_copy(&self, copy: &Pod, metadata: &serde_json::Value, what: &str) -> Result<()> {
        let mut metadata = metadata.clone();
        metadata["uid"] = copy.metadata.uid.clone().into();
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let patched = self.pods.patch_metadata(&self.plan.copy_pod, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(|error| error::api(error, what).with("pod", &self.plan.copy_pod))
    }
}

fn is_hidden(pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MIGRATION_LABEL))
}

pub(super) fn gone(pod: &str) -> Error {
    Error::retry(ErrorKind::NotFound, "the copy's pod is gone, and the queue is its own: somebody has deleted it").with("pod", pod)
}

/// Waits until a copy is Ready.
pub(super) async fn is_ready(pods: &Api<Pod>, name: &str) -> Result<()> {
    until(pods, name, PATIENCE, "the copy to be Ready", |pod| {
        let pod = pod.ok_or_else(|| gone(name))?;
        let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Ok(if ready && pod.metadata.deletion_timestamp.is_none() { Look::Found(()) } else { Look::NotYet(standing(pod)) })
    })
    .await
}
