//! `ms2m doctor --node`: whether a node takes part, as the API server knows it.
//!
//! Agents answer controllers only, and ask no API server. What is known of them here is what their pods' status says, where the chart of `deploy/` has
//! made these: the init container `runtime` puts ms2m-runtime on the node and ends when the container engine knows it, `certificate` brings the certificate.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::Result;
use ms2m_criu::check::Check;
use ms2m_image_store::cri::CriVersion;

use super::super::args::AccessArgs;
use super::super::client::{connect_to_all, refused};
use super::access;

/// As the chart labels its pods.
const OF_MS2M: &str = "app.kubernetes.io/name=ms2m";
const COMPONENT: &str = "app.kubernetes.io/component";

/// One line for each thing that decides.
pub(crate) async fn examine_node(access: &AccessArgs, name: &str) -> Result<Vec<Check>> {
    let client = connect_to_all(access).await?;
    let node = Api::<Node>::all(client.clone()).get(name).await.map_err(refused("look at the node"))?;
    let mut checks = standing(&node);
    match programs(&client).await {
        Ok(pods) => checks.extend(agent(&pods, name)),
        Err(error) => checks.push(access::unknown("agent", &error)),
    }
    Ok(checks)
}

async fn programs(client: &Client) -> Result<Vec<Pod>> {
    let all = Api::<Pod>::all(client.clone());
    Ok(all.list(&ListParams::default().labels(OF_MS2M)).await.map_err(refused("list the pods of ms2m"))?.items)
}

fn standing(node: &Node) -> Vec<Check> {
    let name = node.name_any();
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let mut checks = vec![match ready {
        Some(ready) if ready.status == "True" => Check::ok("node", format!("{name} is ready")),
        ready => {
            let why = ready.and_then(|ready| ready.message.clone()).unwrap_or_else(|| "it has not said so".to_owned());
            Check::fail("node", format!("{name} is not ready: {why}")).remedy(format!("kubectl describe node {name}"))
        }
    }];
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        let line = Check::warn("schedulable", format!("{name} is cordoned: pods can move away, and none can come"));
        checks.push(line.remedy(format!("kubectl uncordon {name}, when it shall take pods again")));
    } else {
        checks.push(Check::ok("schedulable", format!("{name} takes pods")));
    }
    if let Some(info) = node.status.as_ref().and_then(|status| status.node_info.as_ref()) {
        let runtime = &info.container_runtime_version;
        let images =
            if from_images(runtime) { "can be restored from images" } else { "cannot be restored from images (restoreDriver: Image)" };
        let about = format!("{runtime}, by which checkpoints {images}, Linux {}, {}", info.kernel_version, info.architecture);
        checks.push(Check::ok("software", about));
    }
    checks
}

/// Of a container runtime as its node names it, `NAME://VERSION`.
fn from_images(runtime: &str) -> bool {
    let version = runtime.split_once("://").map(|(name, version)| CriVersion { name: name.to_owned(), version: version.to_owned() });
    version.is_some_and(|version| version.restores_from_images())
}

fn is_component(pod: &Pod, component: &str) -> bool {
    pod.labels().get(COMPONENT).is_some_and(|is| is == component)
}

fn agent(pods: &[Pod], node: &str) -> Vec<Check> {
    let on_it = |pod: &&Pod| is_component(pod, "agent") && pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    let Some(agent) = pods.iter().find(on_it) else {
        let reason = "no pod of an agent is there; one that was started by hand is not seen from here";
        return vec![Check::unknown("agent", reason).remedy(format!(
            "install ms2m (deploy/), look at the DaemonSet's nodeSelector and tolerations, or ask it: ms2m agent status https://{node}:9443"
        ))];
    };
    let mut checks = Vec::new();
    for (container, good) in [("runtime", "ms2m-runtime is on the node"), ("certificate", "the agent has a certificate of its node")] {
        if let Some(status) = status_of(agent, container) {
            checks.push(of_init(agent, status, good));
        }
    }
    checks.push(match status_of(agent, "agent") {
        Some(status) if status.ready => Check::ok("agent", format!("{} is ready", agent.name_any())),
        Some(status) => failing("agent", agent, status),
        None => Check::fail("agent", format!("{} has not started", agent.name_any())).remedy(describe(agent)),
    });
    checks.extend(release(pods, agent));
    checks
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.find(|status| status.name == container)
}

fn of_init(pod: &Pod, status: &ContainerStatus, good: &str) -> Check {
    let state = status.state.as_ref();
    let done = state.and_then(|state| state.terminated.as_ref()).is_some_and(|ended| ended.exit_code == 0);
    // A sidecar goes on, and has started when its probe says so.
    let goes_on = state.is_some_and(|state| state.running.is_some()) && status.started == Some(true);
    if done || goes_on { Check::ok(&status.name, good) } else { failing(&status.name, pod, status) }
}

fn failing(name: &str, pod: &Pod, status: &ContainerStatus) -> Check {
    let why = [&status.state, &status.last_state].into_iter().flatten().find_map(told).unwrap_or_else(|| "it is not ready yet".to_owned());
    Check::fail(name, format!("container {} of {}: {}", status.name, pod.name_any(), why.trim())).remedy(describe(pod))
}

/// What a container has said at its end comes before what it is waiting for.
fn told(state: &ContainerState) -> Option<String> {
    let ended =
        state.terminated.as_ref().and_then(|ended| ended.message.clone().or_else(|| Some(format!("exit status {}", ended.exit_code))));
    ended.or_else(|| {
        let waits = state.waiting.as_ref().filter(|waits| waits.reason.as_deref() != Some("CrashLoopBackOff"))?;
        waits.message.clone().or_else(|| waits.reason.clone())
    })
}

fn describe(pod: &Pod) -> String {
    let namespace = pod.namespace().unwrap_or_default();
    format!("do what it says; see kubectl logs --namespace {namespace} {} --all-containers", pod.name_any())
}

/// Controller and agents understand each other when they are of one release.
fn release(pods: &[Pod], agent: &Pod) -> Option<Check> {
    let image = |pod: &Pod| pod.spec.as_ref()?.containers.first()?.image.clone();
    let (of_agent, controller) = (image(agent)?, pods.iter().find(|pod| is_component(pod, "controller"))?);
    let of_controller = image(controller)?;
    Some(if of_agent == of_controller {
        Check::ok("release", format!("agent and controller are both of {of_agent}"))
    } else {
        Check::warn("release", format!("the agent is of {of_agent}, the controller of {of_controller}"))
            .remedy("wait for the rollout of the DaemonSet, or finish the upgrade")
    })
}

#[cfg(test)]
mod tests {
    use ms2m_criu::check::CheckResult;
    use serde_json::{Value, json};

    use super::*;

    fn pod(component: &str, image: &str, init: &Value, containers: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": format!("ms2m-{component}-x"), "namespace": "ms2m-system",
                "labels": { "app.kubernetes.io/name": "ms2m", "app.kubernetes.io/component": component } },
            "spec": { "nodeName": "n1", "containers": [{ "name": component, "image": image }] },
            "status": { "initContainerStatuses": init, "containerStatuses": containers },
        }))
        .unwrap()
    }

    fn status(name: &str, ready: bool, state: &Value, last: &Value) -> Value {
        let started = state.get("running").is_some();
        json!({ "name": name, "image": "", "imageID": "", "ready": ready, "started": started, "restartCount": 0, "state": state, "lastState": last })
    }

    fn results(checks: &[Check]) -> Vec<(&str, CheckResult)> {
        checks.iter().map(|check| (check.name.as_str(), check.result)).collect()
    }

    #[test]
    fn an_agent_that_works_is_well_in_all_its_parts() {
        let (done, runs) = (json!({ "terminated": { "exitCode": 0 } }), json!({ "running": {} }));
        let init = json!([status("runtime", true, &done, &json!({})), status("certificate", true, &runs, &json!({}))]);
        let agent_pod = pod("agent", "ms2m:1", &init, &json!([status("agent", true, &runs, &json!({}))]));
        let pods = [pod("controller", "ms2m:2", &json!([]), &json!([])), agent_pod];
        let checks = agent(&pods, "n1");
        let ok = CheckResult::Ok;
        assert_eq!(results(&checks), [("runtime", ok), ("certificate", ok), ("agent", ok), ("release", CheckResult::Warn)]);
        assert_eq!(results(&agent(&pods, "n2")), [("agent", CheckResult::Unknown)]);
    }

    #[test]
    fn what_the_node_lacks_is_said_in_its_own_words() {
        let lacks = json!({ "terminated": { "exitCode": 1, "message": "containerd lacks the runtime" } });
        let waits = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });
        let init = json!([status("runtime", false, &waits, &lacks)]);
        let starts = json!({ "waiting": { "reason": "PodInitializing" } });
        let checks = agent(&[pod("agent", "ms2m:1", &init, &json!([status("agent", false, &starts, &json!({}))]))], "n1");
        assert_eq!(results(&checks), [("runtime", CheckResult::Fail), ("agent", CheckResult::Fail)]);
        assert!(checks[0].reason.contains("containerd lacks the runtime") && checks[1].reason.contains("PodInitializing"), "{checks:?}");
        assert!(checks.iter().all(|check| check.remedy.is_some()));
    }

    #[test]
    fn who_restores_from_images_is_known_by_the_nodes_own_word() {
        assert!(from_images("containerd://2.1.9") && from_images("cri-o://1.36.0"));
        assert!(!from_images("containerd://1.7.28") && !from_images("") && !from_images("docker://29"));
    }

    #[test]
    fn a_cordoned_node_is_no_target() {
        let node: Node = serde_json::from_value(json!({ "metadata": { "name": "n1" }, "spec": { "unschedulable": true } })).unwrap();
        assert_eq!(results(&standing(&node)), [("node", CheckResult::Fail), ("schedulable", CheckResult::Warn)]);
    }
}
