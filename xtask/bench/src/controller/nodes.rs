//! Nodes that exist in the API server only, with kubelets in this process.

use std::time::Duration;

use anyhow::Result;
use futures_util::TryStreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// How many there are.
pub(super) const NODES: usize = 20;
/// What the pods under measurement ask of their nodes, so that nobody else's kubelet gets one.
pub(super) const LABEL: &str = "ms2m-bench";
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// What their kubelets do side by side.
const CALLS_MAX: usize = 16;

pub(super) fn name(number: usize) -> String {
    format!("simulated-{}", number % NODES)
}

pub(super) async fn make(client: &Client) -> Result<()> {
    let (nodes, leases) = (Api::<Node>::all(client.clone()), leases(client));
    for number in 0..NODES {
        let name = name(number);
        let node = json!({ "metadata": { "name": name, "labels": { LABEL: "simulated", "kubernetes.io/hostname": name } } });
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        let room = json!({ "cpu": "64", "memory": "256Gi", "pods": "500" });
        let now = jiff::Timestamp::now().to_string();
        let ready = json!({ "type": "Ready", "status": "True", "reason": "Simulated", "message": "", "lastHeartbeatTime": now });
        let status = json!({ "capacity": room, "allocatable": room, "conditions": [ready] });
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
        let lease =
            json!({ "metadata": { "name": name }, "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed() } });
        leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await?;
    }
    Ok(())
}

fn leases(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), "kube-node-lease")
}

fn renewed() -> MicroTime {
    MicroTime(jiff::Timestamp::now())
}

/// Their kubelets: until this future is dropped, every pod of theirs is ready at once, and gone as soon as it shall be.
pub(super) async fn live(client: Client) -> Result<()> {
    let renewing = async {
        let leases = leases(&client);
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            for number in 0..NODES {
                let spec = json!({ "spec": { "renewTime": renewed() } });
                leases.patch(&name(number), &PatchParams::default(), &Patch::Merge(spec)).await?;
            }
        }
    };
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let seen = watcher(pods.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let events: Api<Event> = Api::default_namespaced(client.clone());
    let kept = seen.map_err(anyhow::Error::from).try_for_each_concurrent(CALLS_MAX, |pod| keep(&pods, &events, pod));
    tokio::select! {
        renewed = renewing => renewed,
        kept = kept => kept,
    }
}

async fn keep(pods: &Api<Pod>, events: &Api<Event>, pod: Pod) -> Result<()> {
    let name = pod.name_any();
    let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if !on.starts_with("simulated-") {
        return Ok(());
    }
    let runs = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let done = if pod.metadata.deletion_timestamp.is_some() {
        events.create(&PostParams::default(), &serde_json::from_value(ends(&pod))?).await?;
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop)
    } else if runs {
        return Ok(());
    } else {
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready())).await.map(drop)
    };
    match done {
        // Gone meanwhile.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => Ok(done?),
    }
}

/// What a kubelet says before it ends a pod.
fn ends(pod: &Pod) -> Value {
    let involved = json!({ "kind": "Pod", "namespace": pod.namespace(), "name": pod.name_any(), "uid": pod.uid() });
    json!({
        "metadata": { "generateName": pod.name_any(), "namespace": pod.namespace() }, "involvedObject": involved, "type": "Normal",
        "reason": "Killing", "message": "Stopping container main",
    })
}

fn ready() -> Value {
    let condition = |type_: &str| json!({ "type": type_, "status": "True" });
    let container = json!({
        "name": "main", "ready": true, "restartCount": 0, "image": "consumer", "imageID": "", "containerID": "containerd://simulated",
        "state": { "running": { "startedAt": jiff::Timestamp::now().to_string() } },
    });
    let conditions = ["Ready", "ContainersReady", "Initialized", "PodScheduled"].map(condition);
    json!({ "status": { "phase": "Running", "conditions": conditions, "containerStatuses": [container] } })
}
