//! The copy's pod: the source's, with few changes.

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde_json::{Map, Value, json};

use super::affinity::{pinned_to, release, release_pin, require};
use super::source::{HOST_NAME_BYTES_MAX, SourcePod};
use crate::api::{BASE_IMAGE, MIGRATION_LABEL, PLACED_ON, RESTORE_CONTAINER, RESTORE_FROM, annotations};
use crate::node::HOSTNAME;

/// What the API server, its admission or the scheduler add, what is about this one pod, and what must not run twice.
const NOT_COPIED: [&str; 9] = [
    "nodeName",
    "initContainers",
    "ephemeralContainers",
    "schedulingGates",
    // Two consumers are told apart by their host names.
    "hostname",
    "priority",
    "preemptionPolicy",
    "overhead",
    "serviceAccount",
];
/// The volumes with the tokens of a service account, which admission makes anew.
const TOKENS: &str = "kube-api-access-";
/// Annotations that say something of this one pod.
const NOT_ABOUT_THE_COPY: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "controller.kubernetes.io/pod-deletion-cost",
    "kubernetes.io/config.",
    "cni.projectcalico.org/",
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.ovn.org/",
    "migration.ms2m.io/",
];
/// What a copy's image is called on its node, in front of the migration. `localhost` is no registry: nobody tries to pull it.
pub(crate) const COPIES: &str = "localhost/ms2m/copy:";
/// `-m` and eight hexadecimal digits.
const SUFFIX_BYTES: usize = 10;

/// One copy to make.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// Whose copy it is.
    pub migration: &'a MigrationId,
    /// What it is called; see [`copy_name`].
    pub name: &'a str,
    /// Where it shall run; `None`: anywhere but on the source's node.
    pub target_node: Option<&'a str>,
    /// The class of runtime that can restore, in place of the source's own.
    pub runtime_class_name: Option<&'a str>,
    /// The containers that wait for their checkpoint when they are created, by ms2m-runtime.
    pub waits: &'a [String],
}

impl Copy<'_> {
    /// The pod, to be applied. It has none of the source's labels, so nobody counts it or routes to it, and no owner.
    ///
    /// Init containers have run, and what they have made is part of the state or of the volumes that travel: they do not run again. Every image is
    /// named by the digest that the source runs, where a registry knows it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the source is not as pods are.
    pub fn of(&self, source: &SourcePod) -> Result<Value> {
        let mut spec =
            source.raw()["spec"].as_object().cloned().ok_or_else(|| Error::fatal(ErrorKind::Invalid, "the source's pod has no spec"))?;
        for field in NOT_COPIED {
            spec.remove(field);
        }
        without_tokens(&mut spec);
        for container in list(&mut spec, "containers") {
            by_digest(container, source);
        }
        without_placement(&mut spec, source);
        self.place(&mut spec, source);
        if let Some(class) = self.runtime_class_name {
            spec.insert("runtimeClassName".to_owned(), class.into());
        }
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": source.namespace(),
                "labels": { MIGRATION_LABEL: self.migration },
                "annotations": self.annotations(source),
            },
            "spec": spec,
        }))
    }

    fn annotations(&self, source: &SourcePod) -> Map<String, Value> {
        let kept = |key: &str| annotations::KEPT.contains(&key) || !NOT_ABOUT_THE_COPY.iter().any(|prefix| key.starts_with(prefix));
        let mut annotations: Map<String, Value> = source.raw()["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|key, _| kept(key));
        if !self.waits.is_empty() {
            annotations.insert(RESTORE_FROM.to_owned(), self.migration.as_str().into());
            annotations.insert(RESTORE_CONTAINER.to_owned(), self.waits.join(",").into());
        }
        annotations
    }

    fn place(&self, spec: &mut Map<String, Value>, source: &SourcePod) {
        let place = match (self.target_node, source.node()) {
            (Some(target), _) => json!({ "key": "metadata.name", "operator": "In", "values": [target] }),
            (None, Some(node)) => json!({ "key": "metadata.name", "operator": "NotIn", "values": [node] }),
            (None, None) => return,
        };
        // An earlier migration's own word about the place does not count any more.
        release(spec, "matchFields", |field| field["key"] == "metadata.name");
        require(spec, "matchFields", &place);
    }
}

/// Where an earlier migration has put the source is not where its workload wants to be.
fn without_placement(spec: &mut Map<String, Value>, source: &SourcePod) {
    if let Some(hostname) = source.annotation(PLACED_ON)
        && let Some(selector) = spec.get_mut("nodeSelector").and_then(Value::as_object_mut)
    {
        selector.retain(|label, value| label != HOSTNAME || value != hostname);
    }
    if let Some(hostname) = pinned_to(source.raw()) {
        release_pin(spec, hostname);
    }
}

fn without_tokens(spec: &mut Map<String, Value>) {
    let is_token = |value: &Value| value["name"].as_str().is_some_and(|name| name.starts_with(TOKENS));
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(volume));
    }
    for container in list(spec, "containers") {
        if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
            mounts.retain(|mount| !is_token(mount));
        }
    }
}

/// What runs is what shall be restored, whatever the tag means by now.
fn by_digest(container: &mut Value, source: &SourcePod) {
    // That of a copy is another name of the application's own, on its node alone.
    let is_copys = container["image"].as_str().is_some_and(|image| image.starts_with(COPIES));
    if let Some(base) = source.annotation(BASE_IMAGE).filter(|_| is_copys) {
        container["image"] = base.into();
        container["imagePullPolicy"] = "IfNotPresent".into();
        return;
    }
    let name = container["name"].as_str().unwrap_or_default();
    let Some(running) = source.status_of(name) else { return };
    let reference = running.image_id.rsplit_once("://").map_or(running.image_id.as_str(), |(_, reference)| reference);
    // An image that was loaded on the node has an id and no place to pull it from.
    if reference.split_once('@').is_some_and(|(place, digest)| !place.is_empty() && digest.contains(':')) {
        container["image"] = reference.into();
        container["imagePullPolicy"] = "IfNotPresent".into();
    }
}

fn list<'a>(spec: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Value> {
    spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter(|item| item.is_object())
}

/// The copy's name: that of the source without the marks of earlier moves, and a mark of this one. Always the same for a migration, and a host name.
#[must_use]
pub fn copy_name(source: &SourcePod, migration: &MigrationId) -> String {
    let meta = &source.pod().metadata;
    let base = meta.generate_name.as_deref().unwrap_or_else(|| source.name()).trim_end_matches('-');
    let base = match base.len().checked_sub(SUFFIX_BYTES).and_then(|at| base.split_at_checked(at)) {
        Some((base, mark)) if is_mark(mark) => base,
        _ => base,
    };
    let end = base.len().min(HOST_NAME_BYTES_MAX - SUFFIX_BYTES);
    let base = base.get(..end).unwrap_or_default().trim_end_matches(['-', '.']);
    // A host name has no dots; a pod's may.
    format!("{}-m{:08x}", base.replace('.', "-"), fingerprint(migration))
}

fn is_mark(text: &str) -> bool {
    text.strip_prefix("-m").is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// FNV-1a: short, and the same everywhere. Two migrations of one source hardly ever meet, and then the server refuses the second one's pod.
fn fingerprint(migration: &MigrationId) -> u32 {
    migration.as_str().bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
