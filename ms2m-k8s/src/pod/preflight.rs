//! What of a pod cannot follow to another node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde_json::Value;

use super::source::SourcePod;

/// The access modes of each claim that the pod uses.
pub type Claims = BTreeMap<String, Vec<String>>;

/// Volumes that are the same on every node, or whose content travels with the checkpoint.
const FOLLOW: [&str; 9] = ["configMap", "secret", "downwardAPI", "projected", "emptyDir", "nfs", "cephfs", "image", "csi"];

/// Why this pod, of which these containers move, cannot be migrated, each with what to do; empty when it can.
#[must_use]
pub fn obstacles(source: &SourcePod, moved: &[String], target_node: Option<&str>, claims: &Claims) -> Vec<String> {
    let mut found = standing(source, moved);
    let Some(spec) = &source.pod().spec else {
        found.push("the pod has no spec".to_owned());
        return found;
    };
    if target_node.is_some() && target_node == source.node() {
        found.push("it runs on the target node already: name another one, or none".to_owned());
    }
    sharing(spec, &mut found);
    for init in spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always")) {
        found.push(format!(
            "init container {} has restartPolicy Always, and init containers do not run again: make it an ordinary container",
            init.name
        ));
    }
    for container in spec.containers.iter().filter(|container| moved.contains(&container.name)) {
        of_container(container, &mut found);
        of_parts(container, spec, &mut found);
    }
    for (volume, raw) in spec.volumes.iter().flatten().zip(source.raw()["spec"]["volumes"].as_array().into_iter().flatten()) {
        found.extend(of_volume(volume, raw, claims));
    }
    found
}

fn standing(source: &SourcePod, moved: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let pod = source.pod();
    if pod.metadata.deletion_timestamp.is_some() {
        found.push("the pod is being deleted".to_owned());
    }
    if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("kubernetes.io/config.mirror")) {
        found.push("it is a static pod, which belongs to its node".to_owned());
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    if phase != "Running" {
        found.push(format!("the pod is {phase}: only a Running one has a state to move"));
    }
    let runs =
        |container: &str| source.status_of(container).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some());
    for container in moved.iter().filter(|container| !runs(container)) {
        found.push(format!("container {container} does not run: see its log"));
    }
    found
}

fn sharing(spec: &PodSpec, found: &mut Vec<String>) {
    for (shared, what) in [
        (spec.host_network, "hostNetwork: its addresses and its host name belong to the node"),
        (spec.host_pid, "hostPID: it sees the node's processes"),
        (spec.host_ipc, "hostIPC: it shares memory with the node's processes"),
        (spec.share_process_namespace, "shareProcessNamespace: its containers' processes cannot be told apart"),
    ] {
        if shared == Some(true) {
            found.push(what.to_owned());
        }
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        found.push("resourceClaims: the state of a device stays behind".to_owned());
    }
}

fn of_container(container: &Container, found: &mut Vec<String>) {
    let name = &container.name;
    if container.tty == Some(true) || container.stdin == Some(true) {
        found.push(format!("container {name} has a terminal or standard input, which end with its node"));
    }
    let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    for (resource, _) in limits.filter(|(resource, _)| resource.contains('/')) {
        found.push(format!("container {name} uses {resource}: the state of a device stays behind"));
    }
    for device in container.volume_devices.iter().flatten() {
        found.push(format!("container {name} uses the block device {}", device.name));
    }
}

/// Of an emptyDir all travels, or nothing.
fn of_parts(container: &Container, spec: &PodSpec, found: &mut Vec<String>) {
    let carried = |name: &str| spec.volumes.iter().flatten().any(|volume| volume.name == name && volume.empty_dir.is_some());
    let parts = container.volume_mounts.iter().flatten().filter(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some());
    for mount in parts.filter(|mount| carried(&mount.name)) {
        let (name, volume) = (&container.name, &mount.name);
        found.push(format!("container {name} mounts a part of emptyDir {volume}, which does not travel: mount all of it"));
    }
}

fn of_volume(volume: &Volume, raw: &Value, claims: &Claims) -> Option<String> {
    let name = &volume.name;
    if let Some(claim) = &volume.persistent_volume_claim {
        let modes = claims.get(&claim.claim_name).map_or(&[][..], Vec::as_slice);
        let follows = modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany");
        let has = if modes.is_empty() { "unknown".to_owned() } else { modes.join(", ") };
        return (!follows).then(|| {
            format!(
                "volume {name}: the access mode of claim {} is {has}, and both nodes need it at once: use ReadWriteMany",
                claim.claim_name
            )
        });
    }
    let kind = raw.as_object()?.keys().find(|key| *key != "name").map_or("emptyDir", String::as_str);
    let why = match kind {
        kind if FOLLOW.contains(&kind) => return None,
        "hostPath" => "its content stays on the node",
        "ephemeral" => "the copy would get an empty one",
        _ => "it is attached to one node at a time",
    };
    Some(format!("volume {name} is of kind {kind}: {why}"))
}
