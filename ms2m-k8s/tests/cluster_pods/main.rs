//! Source and copy as pods of a real API server, with agents that only pretend: what happens to the pods is real.

mod pin;
#[path = "../world/mod.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ms2m_core::{CheckpointSource as _, CopyStatus, ErrorKind, RestoreTarget as _, SourceStatus};
use ms2m_k8s::api::{MIGRATION_LABEL, RESTORE_FROM};
use ms2m_k8s::{KubeSource, KubeTarget, Plan};
use ms2m_testkit_cluster::Cluster;

use crate::world::{Asked, Nodes, SourceAgent, bare, deployment, image, in_a_cluster, job, migration, other, pods};

struct Move {
    plan: Plan,
    asked: Arc<Asked>,
    source: KubeSource,
    target: KubeTarget,
}

impl Move {
    async fn plan(client: &Client, name: &str, pod: &str, target_node: Option<&str>) -> Self {
        let resource = migration(client, name, pod, target_node).await;
        Self::of(client, Plan::make(client, &resource).await.unwrap().0)
    }

    /// As a controller that has taken over would have it.
    fn of(client: &Client, plan: Plan) -> Self {
        let asked = Arc::new(Asked::default());
        let agent = SourceAgent { pods: pods(client), pod: plan.spec.source_pod.clone(), asked: Arc::clone(&asked), reachable: true };
        let nodes = Nodes { pods: pods(client), asked: Arc::clone(&asked) };
        let source = KubeSource::new(client, &plan, Arc::new(agent));
        let target = KubeTarget::new(client, &plan, Arc::new(nodes));
        Self { plan, asked, source, target }
    }
}

fn get(cluster: &Cluster, what: &str, path: &str) -> String {
    let what: Vec<&str> = what.split(' ').collect();
    cluster.kubectl(&[&["get"], &what[..], &["--output", &format!("jsonpath={{{path}}}")]].concat()).unwrap()
}

#[test]
fn the_copy_of_a_deployments_pod_is_hidden_then_adopted_and_the_source_retired() {
    in_a_cluster(|cluster, client| async move {
        let names = deployment(&cluster, "orders", 2, &image(&cluster));
        let [source, bystander] = &names[..] else { panic!("{names:?}") };
        let node = get(&cluster, &format!("pod/{source}"), ".spec.nodeName");
        let sets = get(&cluster, "rs", ".items[*].metadata.name");
        let untouched = get(&cluster, &format!("pod/{bystander}"), ".metadata.uid");
        let of = Move::plan(&client, "m", source, Some(other(&node))).await;
        let (id, copy) = (&of.plan.migration, &of.plan.copy_pod);
        assert_eq!(of.plan.deployment.as_deref(), Some("orders"));
        assert_eq!(of.target.status(id).await.unwrap(), CopyStatus::Gone, "before it is made");

        let begun = std::time::Instant::now();
        of.target.prepare(&job(id, 30)).await.unwrap();
        println!("prepare {:?}", begun.elapsed());
        of.target.prepare(&job(id, 30)).await.unwrap();
        let pod = pods(&client).get(copy).await.unwrap();
        assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some(other(&node)));
        assert_eq!(pod.metadata.labels.unwrap().into_keys().collect::<Vec<_>>(), [MIGRATION_LABEL]);
        assert!(pod.metadata.annotations.unwrap().contains_key(RESTORE_FROM) && pod.metadata.owner_references.is_none());
        assert_eq!(get(&cluster, "sm/m", ".status.targetNode"), other(&node), "the agent there can see that it is meant");
        assert_eq!(get(&cluster, "rs", ".items[*].status.replicas"), "2", "the ReplicaSet does not count it");
        assert_eq!(of.target.status(id).await.unwrap(), CopyStatus::Present);
        assert_eq!(of.source.status().await.unwrap(), SourceStatus::Present);

        let begun = std::time::Instant::now();
        of.target.promote(id).await.unwrap();
        println!("promote {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        of.source.retire(id).await.unwrap();
        println!("retire {:?}", begun.elapsed());
        assert!(of.asked.all().contains(&"retire, pod ends: true".to_owned()), "{:?}", of.asked.all());
        let pod = pods(&client).get(copy).await.unwrap();
        let labels = pod.metadata.labels.unwrap();
        assert_eq!(labels.keys().map(String::as_str).collect::<Vec<_>>(), ["app", "pod-template-hash", "tier"]);
        let annotations = pod.metadata.annotations.unwrap();
        assert_eq!(annotations["note"], "kept");
        let kept: Vec<_> = annotations.keys().filter(|key| key.starts_with("migration.") || key.contains("deletion-cost")).collect();
        assert_eq!(kept, ["migration.ms2m.io/moved-by"]);
        assert_eq!(pod.metadata.owner_references.unwrap()[0].name, sets);
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{source}")]).unwrap();
        assert_eq!(get(&cluster, "rs", ".items[*].metadata.name"), sets, "no rollout");
        assert_eq!(get(&cluster, "rs", ".items[*].status.readyReplicas"), "2");
        assert_eq!(get(&cluster, &format!("pod/{bystander}"), ".metadata.uid"), untouched);
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name").split(' ').count(), 2);

        // Once more, by a controller that knows the plan alone: the source is gone.
        let again = Move::of(&client, of.plan.clone());
        again.target.promote(id).await.unwrap();
        again.source.retire(id).await.unwrap();
        assert_eq!(again.target.status(id).await.unwrap(), CopyStatus::Present);
        assert_eq!(again.target.discard(id).await.unwrap_err().kind(), ErrorKind::Invariant, "it is the workload's own");

        // And back.
        let back = Move::plan(&client, "back", copy, Some(&node)).await;
        back.target.prepare(&job(&back.plan.migration, 30)).await.unwrap();
        back.target.promote(&back.plan.migration).await.unwrap();
        back.source.retire(&back.plan.migration).await.unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{copy}")]).unwrap();
        assert_eq!(get(&cluster, "rs", ".items[*].status.readyReplicas"), "2");
    });
}

#[test]
fn a_copy_is_discarded_without_a_trace_and_what_stands_in_its_way_is_told() {
    in_a_cluster(|cluster, client| async move {
        let image = image(&cluster);
        bare(&cluster, "lonely", &image);
        let node = get(&cluster, "pod/lonely", ".spec.nodeName");
        let of = Move::plan(&client, "undone", "lonely", None).await;
        let id = &of.plan.migration;
        of.target.prepare(&job(id, 30)).await.unwrap();
        assert_eq!(get(&cluster, &format!("pod/{}", of.plan.copy_pod), ".spec.nodeName"), other(&node), "never the source's own");
        // A controller that has crashed and knows nothing of the agent yet.
        let again = Move::of(&client, of.plan.clone());
        let begun = std::time::Instant::now();
        again.target.discard(id).await.unwrap();
        println!("discard {:?}", begun.elapsed());
        assert!(again.asked.all().contains(&"discard the copy, pod ends: true".to_owned()), "{:?}", again.asked.all());
        again.target.discard(id).await.unwrap();
        assert_eq!(of.target.status(id).await.unwrap(), CopyStatus::Present, "the agent has the first word");
        assert_eq!(again.target.status(id).await.unwrap(), CopyStatus::Gone);
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), "lonely");

        let nowhere = Move::plan(&client, "nowhere", "lonely", Some("n9")).await;
        let error = nowhere.target.prepare(&job(&nowhere.plan.migration, 3)).await.unwrap_err();
        println!("{error}");
        assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("nodes are available"), "{error}");
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), "lonely", "nothing is left");

        let taken = Move::plan(&client, "taken", "lonely", None).await;
        bare(&cluster, &taken.plan.copy_pod, &image);
        let error = taken.target.prepare(&job(&taken.plan.migration, 10)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name").split(' ').count(), 2, "a stranger's pod stays");

        let missing = migration(&client, "missing", "nonesuch", None).await;
        let error = Plan::make(&client, &missing).await.unwrap_err();
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("there is no such pod"), "{error}");
    });
}

#[test]
fn a_bare_pod_moves_and_one_that_is_gone_counts_as_ended() {
    in_a_cluster(|cluster, client| async move {
        bare(&cluster, "lonely", &image(&cluster));
        let of = Move::plan(&client, "m", "lonely", None).await;
        let id = &of.plan.migration;
        of.target.prepare(&job(id, 30)).await.unwrap();
        of.target.promote(id).await.unwrap();
        of.source.retire(id).await.unwrap();
        assert!(of.asked.all().contains(&"retire, pod ends: true".to_owned()), "{:?}", of.asked.all());
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", "pod/lonely"]).unwrap();
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.labels.app"), "lonely");
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), of.plan.copy_pod);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(get(&cluster, "pods", ".items[*].status.phase"), "Running");

        let unreachable = SourceAgent { pods: pods(&client), pod: "lonely".into(), asked: Arc::new(Asked::default()), reachable: false };
        let gone = KubeSource::new(&client, &of.plan, Arc::new(unreachable));
        assert_eq!(gone.status().await.unwrap(), SourceStatus::Gone);
        gone.retire(id).await.unwrap();
    });
}

#[test]
fn a_workload_that_changes_meanwhile_costs_no_state() {
    in_a_cluster(|cluster, client| async move {
        let image = image(&cluster);
        let source = deployment(&cluster, "orders", 1, &image).remove(0);
        let of = Move::plan(&client, "m", &source, None).await;
        let (id, copy) = (&of.plan.migration, &of.plan.copy_pod);
        of.target.prepare(&job(id, 30)).await.unwrap();
        // A ReplicaSet that shall have no pods would delete what it adopts.
        cluster.kubectl(&["scale", "deployment/orders", "--replicas=0"]).unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{source}")]).unwrap();
        let error = of.target.promote(id).await.unwrap_err();
        println!("{error}");
        assert!(error.to_string().contains("wants no pods any more"), "{error}");
        let kept = pods(&client).get(copy).await.unwrap();
        assert!(kept.metadata.deletion_timestamp.is_none() && kept.metadata.owner_references.is_none(), "it stays, hidden");
        // One is enough for it when that is wanted again, and it was there first.
        cluster.kubectl(&["scale", "deployment/orders", "--replicas=1"]).unwrap();
        cluster.kubectl(&["rollout", "status", "--timeout=60s", "deployment/orders"]).unwrap();
        of.target.promote(id).await.unwrap();
        of.source.retire(id).await.unwrap();
        assert!(pods(&client).get(copy).await.unwrap().metadata.owner_references.is_some());

        // Scaled up in the middle, its ReplicaSet has no reason to let the source go.
        let source = deployment(&cluster, "others", 1, &image).remove(0);
        let of = Move::plan(&client, "up", &source, None).await;
        let (id, copy) = (&of.plan.migration, &of.plan.copy_pod);
        of.target.prepare(&job(id, 30)).await.unwrap();
        of.target.promote(id).await.unwrap();
        cluster.kubectl(&["scale", "deployment/others", "--replicas=2"]).unwrap();
        of.source.retire(id).await.unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{source}")]).unwrap();
        assert!(pods(&client).get(copy).await.unwrap().metadata.deletion_timestamp.is_none());

        // Not Ready, it gets no labels: its ReplicaSet would delete it first.
        let probe = r#"{"spec": {"template": {"spec": {"containers": [{"name": "main", "readinessProbe": {"tcpSocket": {"port": 9}}}]}}}}"#;
        cluster.kubectl(&["patch", "deployment", "others", "--patch", probe]).unwrap();
        let selector = [
            "get",
            "pods",
            "--selector",
            "app=others",
            "--sort-by=.metadata.creationTimestamp",
            "--output",
            "jsonpath={.items[-1:].metadata.name}",
        ];
        let unready = cluster.kubectl(&selector).unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=jsonpath={.status.phase}=Running", &format!("pod/{unready}")]).unwrap();
        let of = Move::plan(&client, "unready", &unready, None).await;
        let (id, copy) = (&of.plan.migration, &of.plan.copy_pod);
        of.target.prepare(&job(id, 30)).await.unwrap();
        let error = of.target.promote(id).await.unwrap_err();
        println!("{error}");
        assert!(error.kind() == ErrorKind::Timeout && error.to_string().contains("the copy to be Ready: main is running"), "{error}");
        assert_eq!(pods(&client).get(copy).await.unwrap().metadata.labels.unwrap().into_keys().collect::<Vec<_>>(), [MIGRATION_LABEL]);
        of.target.discard(id).await.unwrap();
    });
}
