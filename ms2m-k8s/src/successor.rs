//! [`Successor`]: the pod that a StatefulSet makes in place of one that is gone.
//!
//! Its node and its checkpoint are written into it by the admission policy of `deploy/`, whose parameter is the migration itself: no pod of that name comes to
//! be without them while the migration says so.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{PLACES, PlacementStatus, RESTORE_CONTAINER, RESTORE_FROM, StatefulMigration};
use crate::error;
use crate::node::hostname;
use crate::target::{broken, unscheduled};
use crate::watch::{Look, until};

/// The policy's binding: whoever has that has the policy, too.
const POLICY: &str = "ms2m-placement";

/// Whether the cluster would write into a StatefulSet's pods what [`Successor::place`] says. Without that, one would start with no state.
pub(crate) async fn is_ruled(client: &Client) -> Result<()> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding");
    let bindings: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let found = bindings.get_opt(POLICY).await.map_err(|error| error::api(error, "read the admission policy"))?;
    found.map(drop).ok_or_else(|| {
        let message =
            "the pods of StatefulSets are placed by an admission policy that is not there: apply deploy/admission (Kubernetes 1.36 or newer)";
        Error::fatal(ErrorKind::Unsupported, message).with("policy", POLICY)
    })
}

/// A pod of this name, for one migration.
#[derive(Clone, Debug)]
pub(crate) struct Successor {
    pub(crate) pods: Api<Pod>,
    resources: Api<StatefulMigration>,
    /// The migration it waits for, and the resource of that.
    pub(crate) migration: MigrationId,
    resource: String,
    pub(crate) name: String,
    pub(crate) node: String,
    runtime_class_name: Option<String>,
}

/// What has come in place of the one before.
enum Came {
    Ours(Pod),
    /// One that does not wait for its checkpoint.
    Other(Pod),
}

impl Successor {
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        (migration, resource): (&MigrationId, &str),
        (name, node): (&str, &str),
        runtime_class_name: Option<&str>,
    ) -> Self {
        Self {
            pods: Api::namespaced(client.clone(), namespace),
            resources: Api::namespaced(client.clone(), namespace),
            migration: migration.clone(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            runtime_class_name: runtime_class_name.map(str::to_owned),
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.pods.clone().into_client()
    }

    /// From now on each pod of this name comes to this node and waits there.
    pub(crate) async fn place(&self) -> Result<()> {
        let hostname = hostname(&self.client(), &self.node).await?;
        let placement = PlacementStatus { pod_name: self.name.clone(), hostname, runtime_class_name: self.runtime_class_name.clone() };
        self.label(json!("true")).await?;
        self.write(json!({ "placement": placement, "targetNode": self.node })).await
    }

    /// The next pod of this name is the StatefulSet's own affair again.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.write(json!({ "placement": null })).await?;
        self.label(Value::Null).await
    }

    async fn label(&self, value: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "uid": self.migration, "labels": { PLACES: value } } }));
        let labelled = self.resources.patch_metadata(&self.resource, &PatchParams::default(), &patch).await;
        labelled.map(drop).map_err(|error| error::api(error, "label the migration"))
    }

    async fn write(&self, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "uid": self.migration }, "status": status }));
        let written = self.resources.patch_status(&self.resource, &PatchParams::default(), &patch).await;
        written.map(drop).map_err(|error| error::api(error, "write the placement into the status"))
    }

    /// The pod, whose `before` is gone, once it has a node. One that came without its checkpoint's name, because the API server did not know of the placement
    /// yet, is sent back: its consumer would find the journal, and wait.
    pub(crate) async fn awaits(&self, before: Option<&str>, limit: Duration) -> Result<Pod> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let came = until(&self.pods, &self.name, left, "the StatefulSet's next pod", |pod| {
                let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() != before) else {
                    return Ok(Look::NotYet("the StatefulSet has not made it".to_owned()));
                };
                if pod.metadata.deletion_timestamp.is_some() {
                    return Ok(Look::NotYet("one is being deleted".to_owned()));
                }
                if !self.is_ours(pod) {
                    return Ok(Look::Found(Came::Other(pod.clone())));
                }
                if let Some(error) = broken(pod) {
                    return Err(error);
                }
                let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
                Ok(if is_placed { Look::Found(Came::Ours(pod.clone())) } else { Look::NotYet(unscheduled(pod)) })
            });
            match came.await? {
                Came::Ours(pod) => return Ok(pod),
                Came::Other(pod) => self.remove(&pod).await?,
            }
        }
    }

    /// The pod of this name, if it waits, or has waited, for this migration.
    pub(crate) async fn find(&self) -> Result<Option<Pod>> {
        let found = self.pods.get_opt(&self.name).await.map_err(|error| error::api(error, "read the copy's pod"))?;
        Ok(found.filter(|pod| self.is_ours(pod)))
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let of = |annotations: &BTreeMap<String, String>| {
            [RESTORE_FROM, crate::target::MOVED_BY]
                .iter()
                .any(|name| annotations.get(*name).map(String::as_str) == Some(self.migration.as_str()))
        };
        pod.metadata.annotations.as_ref().is_some_and(of)
    }

    /// Takes a pod of this name out of the way at once.
    pub(crate) async fn remove(&self, pod: &Pod) -> Result<()> {
        let only_this = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }.preconditions(only_this);
        match self.pods.delete(&self.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error::api(error, "delete a pod of the StatefulSet").with("pod", &self.name)),
        }
    }

    /// It is an ordinary pod from now on.
    pub(crate) async fn settle(&self, pod: &Pod) -> Result<()> {
        let annotations = json!({ RESTORE_FROM: null, RESTORE_CONTAINER: null, crate::target::MOVED_BY: self.migration });
        let patch = Patch::Merge(json!({ "metadata": { "uid": pod.metadata.uid, "annotations": annotations } }));
        let patched = self.pods.patch_metadata(&self.name, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(|error| error::api(error, "finish the promotion").with("pod", &self.name))
    }
}
