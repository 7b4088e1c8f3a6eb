//! What is to be done with each pod of the node.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ms2m_k8s::api::{MIGRATION_LABEL, RESTORE_FROM};
use serde::Serialize;

use super::super::consumed::{Said, consumed, is_opted_in};

/// Which pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) pod: String,
}

impl Name {
    pub(super) fn of(pod: &Pod) -> Self {
        Self { namespace: pod.namespace().unwrap_or_else(|| "default".to_owned()), pod: pod.name_any() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pod)
    }
}

/// What may be lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// Pods that nobody makes again.
    pub(super) unmanaged: bool,
    /// The content of emptyDirs.
    pub(super) empty_dirs: bool,
}

/// All pods of the node.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// They are opted in and run.
    pub(super) move_: Vec<Pod>,
    /// Copies that wait for their checkpoint.
    pub(super) coming: Vec<Pod>,
    /// They end already.
    pub(super) ending: Vec<Pod>,
    /// They are evicted, as `kubectl drain` does it.
    pub(super) evict: Vec<Pod>,
    /// They belong to the node; with the reason.
    pub(super) stay: Vec<(Name, String)>,
    /// Why this node cannot be drained so, each with what to do.
    pub(super) problems: Vec<String>,
}

impl Sorted {
    pub(super) fn of(pods: Vec<Pod>, allowed: Allowed) -> Self {
        let mut sorted = Self::default();
        for pod in pods {
            sorted.take(pod, allowed);
        }
        sorted
    }

    fn take(&mut self, pod: Pod, allowed: Allowed) {
        let name = Name::of(&pod);
        let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let daemon = owner.filter(|owner| owner.kind == "DaemonSet").map(|owner| format!("of DaemonSet {}", owner.name));
        if pod.annotations().contains_key("kubernetes.io/config.mirror") {
            self.stay.push((name, "a static pod of the node".to_owned()));
        } else if let Some(why) = daemon {
            self.stay.push((name, why));
        } else if pod.metadata.deletion_timestamp.is_some() {
            self.ending.push(pod);
        } else if has_finished(&pod) {
            self.evict.push(pod);
        } else if is_coming(&pod) {
            self.coming.push(pod);
        } else if is_opted_in(&pod) && !is_pending(&pod) {
            match consumed(&pod, &Said::default()) {
                Ok(_) => self.move_.push(pod),
                Err(error) => self.problems.push(format!("{name}: {}", error.message())),
            }
        } else {
            if owner.is_none() && !allowed.unmanaged {
                self.problems.push(format!("{name}: nobody would make it again elsewhere; --force evicts it nevertheless"));
            }
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            if !allowed.empty_dirs && volumes.into_iter().any(|volume| volume.empty_dir.is_some()) {
                self.problems.push(format!("{name}: the content of its emptyDir would be lost; --delete-emptydir-data accepts that"));
            }
            self.evict.push(pod);
        }
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether it is a copy that has not become a pod of its own yet.
pub(super) fn is_coming(pod: &Pod) -> bool {
    // One that is made from an image waits for nothing of ours.
    pod.annotations().contains_key(RESTORE_FROM) || pod.labels().contains_key(MIGRATION_LABEL)
}

fn has_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Nothing of it has run yet, so there is nothing to move.
pub(super) fn is_pending(pod: &Pod) -> bool {
    phase(pod) == "Pending"
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, annotations: &Value, owner: &str, phase: &str) -> Pod {
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{ "apiVersion": "v", "kind": owner, "name": "o", "uid": "u", "controller": true }])
        };
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop", "annotations": annotations, "ownerReferences": owners },
            "spec": { "containers": [], "volumes": [{ "name": "scratch", "emptyDir": {} }] },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    fn opted_in() -> Value {
        json!({ "migration.ms2m.io/queue": "orders", "migration.ms2m.io/broker-secret": "broker" })
    }

    fn names(pods: &[Pod]) -> Vec<String> {
        pods.iter().map(ResourceExt::name_any).collect()
    }

    #[test]
    fn each_pod_gets_what_is_right_for_it() {
        let mut ending = pod("ending", &opted_in(), "ReplicaSet", "Running");
        ending.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let pods = vec![
            pod("orders", &opted_in(), "ReplicaSet", "Running"),
            pod("alone", &opted_in(), "", "Running"),
            pod("image-pull", &opted_in(), "ReplicaSet", "Pending"),
            pod("ended", &opted_in(), "Job", "Succeeded"),
            pod("copy", &json!({ RESTORE_FROM: "m-1", "migration.ms2m.io/queue": "bills" }), "", "Pending"),
            pod("web", &json!({}), "ReplicaSet", "Running"),
            pod("agent", &opted_in(), "DaemonSet", "Running"),
            pod("static", &json!({ "kubernetes.io/config.mirror": "x" }), "Node", "Running"),
            ending,
        ];
        let sorted = Sorted::of(pods, Allowed { unmanaged: false, empty_dirs: true });
        assert_eq!(names(&sorted.move_), ["orders", "alone"]);
        assert_eq!(names(&sorted.evict), ["image-pull", "ended", "web"]);
        assert_eq!((names(&sorted.coming), names(&sorted.ending)), (vec!["copy".to_owned()], vec!["ending".to_owned()]));
        let stay: Vec<_> = sorted.stay.iter().map(|(name, why)| format!("{name} {why}")).collect();
        assert_eq!(stay, ["shop/agent of DaemonSet o", "shop/static a static pod of the node"]);
        assert!(sorted.problems.is_empty(), "{:?}", sorted.problems);
    }

    #[test]
    fn what_would_be_lost_is_said_with_what_to_do() {
        let half = json!({ "migration.ms2m.io/queue": "orders" });
        let pods = || vec![pod("web", &json!({}), "", "Running"), pod("half", &half, "ReplicaSet", "Running")];
        let problems = Sorted::of(pods(), Allowed::default()).problems;
        let [bare, volume, broker] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(bare.contains("--force") && volume.contains("--delete-emptydir-data") && broker.contains("where is the broker"));
        assert_eq!(Sorted::of(pods(), Allowed { unmanaged: true, empty_dirs: true }).problems, std::slice::from_ref(broker));
    }
}
