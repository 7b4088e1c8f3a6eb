//! Whose pod it is.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::{Selector, SelectorExt as _};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, Result};

use crate::error;

/// Who looks after a pod, and so who must take the copy over.
#[derive(Clone, PartialEq, Debug)]
pub enum Owner {
    /// Nobody.
    Bare,
    /// A ReplicaSet, mostly that of a Deployment.
    ReplicaSet(ReplicaSetOwner),
    /// A StatefulSet.
    StatefulSet {
        /// Its name.
        name: String,
    },
}

/// A ReplicaSet that owns a pod.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaSetOwner {
    /// Its name.
    pub name: String,
    /// Which one of that name.
    pub uid: String,
    /// The Deployment behind it.
    pub deployment: Option<String>,
    /// Which pods it takes for its own.
    pub selector: LabelSelector,
}

impl ReplicaSetOwner {
    /// Whether it would count a pod with these labels as one of its own.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        // A selector that cannot be read selects whatever it likes.
        Selector::try_from(self.selector.clone()).map_or(true, |selector| selector.matches(labels))
    }
}

impl Owner {
    /// Finds it out.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when something else than a ReplicaSet or a StatefulSet looks after the pod; the API server's own.
    pub async fn of(client: &Client, pod: &Pod) -> Result<Self> {
        let Some(controller) = controller(&pod.metadata) else { return Ok(Self::Bare) };
        match (controller.api_version.as_str(), controller.kind.as_str()) {
            ("apps/v1", "StatefulSet") => Ok(Self::StatefulSet { name: controller.name.clone() }),
            ("apps/v1", "ReplicaSet") => {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
                let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
                let set = sets.get(&controller.name).await.map_err(|error| error::api(error, "read the ReplicaSet of the source"))?;
                Self::of_replica_set(controller, set)
            }
            (version, kind) => Err(Error::fatal(
                ErrorKind::Unsupported,
                format!("pods of a {kind} cannot be migrated: only those of a Deployment, a ReplicaSet or a StatefulSet, and bare ones"),
            )
            .with("owner", format!("{version} {kind} {}", controller.name))),
        }
    }

    fn of_replica_set(named: &OwnerReference, set: ReplicaSet) -> Result<Self> {
        let uid = set.metadata.uid.clone().unwrap_or_default();
        if uid != named.uid {
            let message = "the ReplicaSet of the source is another one of the same name: try again when its pods have settled";
            return Err(Error::retry(ErrorKind::NotFound, message).with("replica set", &named.name));
        }
        let deployment = controller(&set.metadata).filter(|owner| owner.kind == "Deployment").map(|owner| owner.name.clone());
        let selector = set.spec.map(|spec| spec.selector).unwrap_or_default();
        Ok(Self::ReplicaSet(ReplicaSetOwner { name: named.name.clone(), uid, deployment, selector }))
    }
}

/// The one owner that looks after an object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(owners: &Value) -> ReplicaSet {
        let selector = json!({ "matchLabels": { "app": "orders", "pod-template-hash": "5d" }, "matchExpressions": [
            { "key": "tier", "operator": "NotIn", "values": ["canary"] },
        ] });
        serde_json::from_value(json!({
            "metadata": { "name": "orders-5d", "uid": "u-1", "ownerReferences": owners },
            "spec": { "selector": selector },
        }))
        .unwrap()
    }

    fn reference(kind: &str, uid: &str) -> OwnerReference {
        let value = json!({ "apiVersion": "apps/v1", "kind": kind, "name": "orders-5d", "uid": uid, "controller": true });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_replica_set_knows_its_deployment_and_its_pods() {
        let owners = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "orders", "uid": "d", "controller": true }]);
        let Owner::ReplicaSet(owner) = Owner::of_replica_set(&reference("ReplicaSet", "u-1"), set(&owners)).unwrap() else { panic!() };
        assert_eq!(owner.deployment.as_deref(), Some("orders"));
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert!(owner.selects(&labels(&[("app", "orders"), ("pod-template-hash", "5d")])));
        assert!(!owner.selects(&labels(&[("app", "orders")])));
        assert!(!owner.selects(&labels(&[("app", "orders"), ("pod-template-hash", "5d"), ("tier", "canary")])));
        assert!(!owner.selects(&labels(&[])));
    }

    #[test]
    fn another_replica_set_of_the_name_is_not_taken_for_it() {
        let error = Owner::of_replica_set(&reference("ReplicaSet", "u-0"), set(&json!([]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let Owner::ReplicaSet(owner) = Owner::of_replica_set(&reference("ReplicaSet", "u-1"), set(&json!([]))).unwrap() else { panic!() };
        assert_eq!(owner.deployment, None);
    }
}
