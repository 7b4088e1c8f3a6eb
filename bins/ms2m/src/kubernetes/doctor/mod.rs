//! `ms2m doctor --pod`: whether a pod of a cluster can be moved, and what to do where it cannot.

mod access;
mod broker;
mod node;
mod probes;
mod shape;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use ms2m_core::{ErrorKind, Phase, Result};
use ms2m_criu::check::Check;
use ms2m_k8s::Plan;
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationSpec};
use ms2m_k8s::owner::Owner;
use ms2m_k8s::pod::SourcePod;
use serde_json::json;

pub(crate) use self::node::examine_node;
use super::args::ClusterArgs;
use super::client::{connect, migrations, refused};
use super::consumed::{Said, consumed, container, is_opted_in};

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) cluster: &'a ClusterArgs,
    pub(crate) pod: &'a str,
    pub(crate) to: Option<&'a str>,
}

/// One line for each thing that decides.
pub(crate) async fn examine(question: &Question<'_>) -> Result<Vec<Check>> {
    let client = connect(question.cluster).await?;
    let namespace = client.default_namespace().to_owned();
    let source = SourcePod::read(&client, &namespace, question.pod).await?;
    let pod = source.pod();
    let consumer = source.container(container(pod))?;
    // An annotation that is wrong has a line of its own, of the plan's.
    let moved = source.together(consumer).unwrap_or_else(|_| vec![consumer.to_owned()]);
    let mut checks = movable(&client, question, &source).await;
    checks.push(owner(&client, pod).await);
    checks.extend(shape::checks(pod, &moved));
    checks.extend(moved.iter().flat_map(|moved| probes::checks(pod, moved)));
    checks.push(queue(pod));
    checks.extend(broker::checks(&client, &namespace, pod).await);
    checks.push(under_way(&client, question.pod).await);
    checks.push(targets(&client, &source, question.to).await);
    Ok(checks)
}

/// What the controller would say before it begins.
async fn movable(client: &Client, question: &Question<'_>, source: &SourcePod) -> Vec<Check> {
    let mut spec = json!({
        "sourcePod": question.pod,
        "containerName": container(source.pod()),
        "targetNode": question.to,
        "transferMode": "Direct",
        // What it consumes has lines of its own.
        "messageQueueConfig": { "queueName": "?", "brokerUrl": "amqp://?" },
    });
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let spec: StatefulMigrationSpec = match serde_json::from_value(spec) {
        Ok(spec) => spec,
        Err(error) => return vec![Check::unknown("pod", error.to_string())],
    };
    let mut asked = StatefulMigration::new("doctor", spec);
    asked.metadata.namespace = Some(source.namespace().to_owned());
    asked.metadata.uid = Some("doctor".to_owned());
    let node = source.node().unwrap_or("no node");
    match Plan::make(client, &asked).await {
        Ok(_) => vec![Check::ok("pod", format!("runs on {node}, and nothing of it has to stay there"))],
        Err(error) if error.kind() == ErrorKind::Unauthorized => vec![access::unknown("pod", &error)],
        Err(error) => obstacles(&error.message()),
    }
}

/// Each obstacle has a line.
fn obstacles(message: &str) -> Vec<Check> {
    let all = message.strip_prefix("the source cannot be migrated: ").unwrap_or(message);
    let remedy = "change that in the pod's template, or let a rollout replace this pod: its state then starts anew";
    all.split("; ").map(|one| Check::fail("pod", one).remedy(remedy)).collect()
}

async fn owner(client: &Client, pod: &Pod) -> Check {
    match Owner::of(client, pod).await {
        Ok(Owner::ReplicaSet(set)) => {
            let of = set.deployment.map_or_else(String::new, |name| format!(" of Deployment {name}"));
            Check::ok("owner", format!("ReplicaSet {}{of} will adopt the copy", set.name))
        }
        // Whether its pods can move is said with the obstacles.
        Ok(Owner::StatefulSet { name }) => Check::ok("owner", format!("StatefulSet {name}")),
        Ok(Owner::Bare) => Check::warn("owner", "nobody looks after it: its copy has another name, and nobody replaces that when it ends")
            .remedy("run it by a Deployment"),
        Err(error) if error.kind() == ErrorKind::Unauthorized => access::unknown("owner", &error),
        Err(error) => Check::fail("owner", error.message()).remedy("move the pods of Deployments, ReplicaSets, or single ones"),
    }
}

fn queue(pod: &Pod) -> Check {
    if !is_opted_in(pod) {
        let reason = "its annotations do not say which queue it consumes: `ms2m migrate` has to be told, and `ms2m drain` evicts it as any other pod";
        return Check::warn("queue", reason)
            .remedy("annotate the pod's template with migration.ms2m.io/queue and migration.ms2m.io/broker-secret");
    }
    match consumed(pod, &Said::default()) {
        Ok(found) => Check::ok("queue", format!("{}, as its annotation says", found.queue_name)),
        Err(error) => Check::fail("queue", error.message()).remedy("annotate the pod's template with migration.ms2m.io/broker-secret"),
    }
}

async fn under_way(client: &Client, pod: &str) -> Check {
    let found = match migrations(client).list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => {
            let error = refused("list the migrations")(error);
            return match error.kind() {
                ErrorKind::Unsupported => Check::fail("installed", error.message()).remedy("kubectl apply -k deploy"),
                _ => access::unknown("migrations", &error),
            };
        }
    };
    let goes_on = |one: &&StatefulMigration| !one.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_final);
    match found.iter().filter(|one| one.spec.source_pod == pod).find(goes_on) {
        Some(one) => Check::warn("migrations", format!("{} is moving it already", one.name_any()))
            .remedy(format!("wait for it, or roll it back: ms2m cancel {}", one.name_any())),
        None => Check::ok("migrations", "none is moving it now"),
    }
}

/// Whether there is somewhere to go. What fits where, the scheduler decides.
async fn targets(client: &Client, source: &SourcePod, to: Option<&str>) -> Check {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = match nodes.list(&ListParams::default()).await {
        Ok(nodes) => nodes.items,
        Err(error) => return access::unknown("target", &refused("list the nodes")(error)),
    };
    let takes = |node: &&Node| {
        let ready = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        node.spec.as_ref().is_none_or(|spec| spec.unschedulable != Some(true))
            && ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            && source.node() != Some(node.name_any().as_str())
            && to.is_none_or(|to| to == node.name_any())
    };
    let names: Vec<_> = nodes.iter().filter(takes).map(ResourceExt::name_any).collect();
    match (names.as_slice(), to) {
        ([], Some(to)) => Check::fail("target", format!("{to} is not there, not ready, cordoned, or the pod's own"))
            .remedy("kubectl get nodes; kubectl uncordon, or another --to"),
        ([], None) => Check::fail("target", "no other node is ready and takes pods").remedy("kubectl get nodes; kubectl uncordon"),
        ([one], _) => Check::ok("target", format!("{one} is ready and takes pods")),
        (several, _) => Check::ok("target", format!("{} other nodes are ready and take pods", several.len())),
    }
}

#[cfg(test)]
mod tests {
    use ms2m_criu::check::CheckResult;

    use super::*;

    #[test]
    fn each_obstacle_has_its_line_and_a_remedy() {
        let found = obstacles("the source cannot be migrated: hostNetwork: x; volume a is of kind hostPath: y");
        assert_eq!(found.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), ["hostNetwork: x", "volume a is of kind hostPath: y"]);
        assert!(found.iter().all(|one| one.result == CheckResult::Fail && one.remedy.is_some()));
    }

    #[test]
    fn who_is_not_opted_in_is_told_how() {
        let pod = |annotations| serde_json::from_value(json!({ "metadata": { "name": "a", "annotations": annotations } })).unwrap();
        assert_eq!(queue(&pod(json!({}))).result, CheckResult::Warn);
        let half = queue(&pod(json!({ "migration.ms2m.io/queue": "orders" })));
        assert!(half.result == CheckResult::Fail && half.remedy.unwrap().contains("broker-secret"));
        let whole = json!({ "migration.ms2m.io/queue": "orders", "migration.ms2m.io/broker-secret": "b" });
        assert_eq!(queue(&pod(whole)).result, CheckResult::Ok);
    }
}
