//! The operator on a real API server, with drivers that pretend: resources, pods, events and leases are real.

mod factory;
#[path = "../world/mod.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::{Api, Client};
use ms2m_k8s::Operator;
use ms2m_k8s::api::{FINALIZER, StatefulMigration};
use ms2m_testkit_cluster::Cluster;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::factory::{Factory, Script};
use crate::world::{bare, deployment, image, in_a_cluster, migration, pods};

const PATIENCE: Duration = Duration::from_secs(40);

fn operator(client: &Client, script: &Arc<Script>, identity: &str) -> Operator {
    Operator::new(client.clone(), Arc::new(Factory { client: client.clone(), script: Arc::clone(script) })).with_identity(identity)
}

/// An operator that runs until it is stopped.
struct Runs(oneshot::Sender<()>, JoinHandle<()>);

impl Runs {
    fn start(operator: Operator) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            operator
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self(stop, task)
    }

    async fn stop(self) {
        let _ = self.0.send(());
        self.1.await.unwrap();
    }
}

/// Waits until the resource is as wanted; `None` when it is gone.
async fn until(client: &Client, name: &str, what: &str, wanted: impl Fn(Option<&StatefulMigration>) -> bool) -> Option<StatefulMigration> {
    let resources: Api<StatefulMigration> = Api::namespaced(client.clone(), "default");
    let watched = kube::runtime::wait::await_condition(resources.clone(), name, |resource: Option<&StatefulMigration>| wanted(resource));
    match tokio::time::timeout(PATIENCE, watched).await {
        Ok(found) => found.unwrap(),
        Err(_) => panic!("{name} is not {what}: {:#?}", resources.get_opt(name).await.unwrap().and_then(|resource| resource.status)),
    }
}

fn phase(resource: Option<&StatefulMigration>) -> String {
    resource.and_then(|resource| resource.status.as_ref()?.phase).map(|phase| phase.to_string()).unwrap_or_default()
}

async fn in_phase(client: &Client, name: &str, wanted: &str) -> StatefulMigration {
    until(client, name, wanted, |resource| phase(resource) == wanted).await.unwrap()
}

fn condition(resource: &StatefulMigration, type_: &str) -> (String, String) {
    let found = resource.status.as_ref().and_then(|status| status.conditions.iter().find(|condition| condition.type_ == type_));
    found.map(|found| (found.status.clone(), found.reason.clone())).unwrap_or_default()
}

fn holds(resource: &StatefulMigration, type_: &str) -> bool {
    condition(resource, type_).0 == "True"
}

fn get(cluster: &Cluster, what: &str, path: &str) -> String {
    cluster.kubectl(&["get", what, "--output", &format!("jsonpath={{{path}}}")]).unwrap()
}

#[test]
fn a_deployments_pod_moves_and_the_next_one_on_its_queue_waits() {
    in_a_cluster(|cluster, client| async move {
        let script = Arc::new(Script::default());
        script.behind.store(true, Ordering::SeqCst);
        let runs = Runs::start(operator(&client, &script, "a"));
        let names = deployment(&cluster, "orders", 2, &image(&cluster));
        let begun = std::time::Instant::now();
        migration(&client, "first", &names[0], None).await;
        let under_way = in_phase(&client, "first", "Replaying").await;
        assert!(under_way.metadata.finalizers.unwrap_or_default().contains(&FINALIZER.to_owned()));

        // The same source, and another queue.
        migration(&client, "second", &names[0], None).await;
        let waits =
            until(&client, "second", "waiting", |resource| resource.is_some_and(|resource| holds(resource, "Waiting"))).await.unwrap();
        println!("second: {}", waits.status.unwrap().message.unwrap());
        script.behind.store(false, Ordering::SeqCst);
        let moved = until(&client, "first", "let go", |resource| {
            phase(resource) == "Completed" && resource.is_some_and(|resource| resource.metadata.finalizers.is_none())
        })
        .await
        .unwrap();
        println!("first: completed after {:?}", begun.elapsed());
        let refused = in_phase(&client, "second", "Failed").await;
        println!("second: {}", refused.status.clone().unwrap().message.unwrap());
        assert_eq!(condition(&refused, "Accepted").0, "False", "its source is gone by then, or goes");

        for (type_, wanted) in
            [("Accepted", "True"), ("TargetPrepared", "True"), ("Completed", "True"), ("StateExact", "True"), ("NeedsAttention", "False")]
        {
            assert_eq!(condition(&moved, type_).0, wanted, "{type_}");
        }
        let status = moved.status.unwrap();
        println!("{:?} {:?}", status.message, status.phase_timings);
        assert_eq!(status.deployment_name.as_deref(), Some("orders"));
        assert_eq!(status.report.as_ref().unwrap()["durations_ms"]["cutover_gap"], 3.5);
        assert_eq!(status.report.unwrap()["restore_target"], "fake");
        assert_eq!(status.checkpoint.unwrap().bytes, 4);
        assert_eq!(status.conditions.iter().filter(|condition| condition.observed_generation == Some(1)).count(), status.conditions.len());
        let copy = status.target_pod.unwrap();
        assert_eq!(get(&cluster, &format!("pod/{copy}"), ".metadata.ownerReferences[0].kind"), "ReplicaSet");
        let events = get(&cluster, "events", ".items[?(@.involvedObject.name==\"first\")].reason");
        for reason in ["Checkpointing", "Transferring", "Restoring", "Replaying", "Finalizing", "Completed"] {
            assert!(events.contains(reason), "{events}");
        }
        until(&client, "first", "told of", |resource| {
            let progress = resource.and_then(|resource| resource.status.as_ref()?.progress.as_ref());
            progress.is_some_and(|progress| progress.summary == "moved" && progress.lag == 0)
        })
        .await;
        let row = cluster.kubectl(&["get", "sm", "first"]).unwrap();
        println!("{row}");

        // It owns nothing.
        cluster.kubectl(&["delete", "sm", "first", "second", "--timeout=20s"]).unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{}", names[0])]).unwrap();
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name").split(' ').count(), 2);
        assert!(pods(&client).get(&copy).await.unwrap().metadata.deletion_timestamp.is_none());
        runs.stop().await;
    });
}

#[test]
fn deletion_rolls_back_and_a_crash_is_gone_on_from() {
    in_a_cluster(|cluster, client| async move {
        let script = Arc::new(Script::default());
        script.behind.store(true, Ordering::SeqCst);
        let runs = Runs::start(operator(&client, &script, "a"));
        bare(&cluster, "lonely", &image(&cluster));
        migration(&client, "undone", "lonely", None).await;
        in_phase(&client, "undone", "Replaying").await;
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name").split(' ').count(), 2);
        cluster.kubectl(&["delete", "sm", "undone", "--timeout=30s"]).unwrap();
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), "lonely", "only the source is left");
        let events = get(&cluster, "events", ".items[?(@.involvedObject.name==\"undone\")].reason");
        assert!(events.contains("Cancelled"), "{events}");

        // The controller dies, and another one goes on.
        migration(&client, "crashed", "lonely", None).await;
        in_phase(&client, "crashed", "Replaying").await;
        runs.stop().await;
        script.behind.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let resources: Api<StatefulMigration> = Api::namespaced(client.clone(), "default");
        assert_eq!(phase(Some(&resources.get("crashed").await.unwrap())), "Replaying", "nobody drives it");
        script.cut_off.store(true, Ordering::SeqCst);
        let runs = Runs::start(operator(&client, &script, "b"));
        until(&client, "crashed", "told of", |resource| {
            resource.is_some_and(|resource| condition(resource, "NeedsAttention") == ("True".into(), "CannotGoOn".into()))
        })
        .await;
        script.cut_off.store(false, Ordering::SeqCst);
        let moved = in_phase(&client, "crashed", "Completed").await.status.unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", "pod/lonely"]).unwrap();
        assert_eq!(Some(get(&cluster, "pods", ".items[*].metadata.name")), moved.target_pod);

        // It dies, and the resource is deleted before the next one comes.
        script.behind.store(true, Ordering::SeqCst);
        let now = moved.target_pod.unwrap();
        migration(&client, "both", &now, None).await;
        in_phase(&client, "both", "Replaying").await;
        runs.stop().await;
        cluster.kubectl(&["delete", "sm", "both", "--wait=false"]).unwrap();
        let runs = Runs::start(operator(&client, &script, "c"));
        until(&client, "both", "gone", |resource| resource.is_none()).await;
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), now);

        // Somebody takes the finalizer away.
        migration(&client, "torn", &now, None).await;
        in_phase(&client, "torn", "Replaying").await;
        cluster.kubectl(&["delete", "sm", "torn", "--wait=false"]).ok();
        cluster.kubectl(&["patch", "sm", "torn", "--type=merge", "--patch", r#"{"metadata": {"finalizers": null}}"#]).ok();
        until(&client, "torn", "gone", |resource| resource.is_none()).await;
        let copies = || get(&cluster, "pods", ".items[*].metadata.name");
        let begun = std::time::Instant::now();
        while copies() != now {
            assert!(begun.elapsed() < PATIENCE, "{}", copies());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        runs.stop().await;
    });
}

#[test]
fn bad_ones_are_refused_finished_ones_remove_themselves_and_one_operator_leads() {
    in_a_cluster(|cluster, client| async move {
        let script = Arc::new(Script::default());
        let mut leaders = Vec::new();
        for identity in ["a", "b"] {
            let operator = operator(&client, &script, identity).with_namespace("default");
            let (stop, stopped) = oneshot::channel::<()>();
            let task = tokio::spawn(async move {
                let shutdown = async {
                    let _ = stopped.await;
                };
                operator.run_as_leader("default", shutdown).await
            });
            leaders.push((stop, task));
            let begun = std::time::Instant::now();
            while get(&cluster, "lease", ".items[*].spec.holderIdentity").is_empty() {
                assert!(begun.elapsed() < PATIENCE, "nobody leads");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert_eq!(get(&cluster, "lease/ms2m-controller", ".spec.holderIdentity"), "a");
        migration(&client, "missing", "nonesuch", None).await;
        let refused = in_phase(&client, "missing", "Failed").await;
        assert_eq!(condition(&refused, "Accepted"), ("False".into(), "NotFound".into()));
        println!("{}", refused.status.unwrap().message.unwrap());
        cluster.kubectl(&["delete", "sm", "missing", "--timeout=20s"]).unwrap();

        bare(&cluster, "lonely", &image(&cluster));
        let node = get(&cluster, "pod/lonely", ".spec.nodeName");
        migration(&client, "here", "lonely", Some(&node)).await;
        let refused = in_phase(&client, "here", "Failed").await.status.unwrap().message.unwrap();
        assert!(refused.contains("it runs on the target node already"), "{refused}");

        // What may be over soon is tried again, and not for ever.
        script.cut_off.store(true, Ordering::SeqCst);
        let manifest = r#"{"apiVersion": "migration.ms2m.io/v1alpha1", "kind": "StatefulMigration", "metadata": {"name": "cut-off"}, "spec": {
            "sourcePod": "lonely", "transferMode": "Direct", "timeouts": {"pendingSeconds": 4},
            "messageQueueConfig": {"queueName": "orders", "brokerUrl": "amqp://broker"}}}"#;
        cluster.apply(manifest).unwrap();
        let tried = until(&client, "cut-off", "tried again", |resource| {
            resource.is_some_and(|resource| condition(resource, "Accepted") == ("Unknown".into(), "Unavailable".into()))
        })
        .await
        .unwrap();
        println!("{}", tried.status.unwrap().message.unwrap());
        let refused = in_phase(&client, "cut-off", "Failed").await.status.unwrap().message.unwrap();
        assert!(refused.contains("no agent answers"), "{refused}");
        let times = script.asked.all().iter().filter(|what| *what == "drivers").count();
        assert!((2..=20).contains(&times), "asked {times} times: with pauses, and more than once");
        script.cut_off.store(false, Ordering::SeqCst);

        // The other one takes over, and the resource removes itself when its time is over.
        let (stop, task) = leaders.remove(0);
        stop.send(()).unwrap();
        task.await.unwrap().unwrap();
        let manifest = r#"{"apiVersion": "migration.ms2m.io/v1alpha1", "kind": "StatefulMigration", "metadata": {"name": "brief"}, "spec": {
            "sourcePod": "lonely", "transferMode": "Direct", "ttlSecondsAfterFinished": 2,
            "messageQueueConfig": {"queueName": "orders", "brokerUrl": "amqp://broker"}}}"#;
        cluster.apply(manifest).unwrap();
        in_phase(&client, "brief", "Completed").await;
        until(&client, "brief", "gone", |resource| resource.is_none()).await;
        assert_eq!(get(&cluster, "lease/ms2m-controller", ".spec.holderIdentity"), "b");
        let (stop, task) = leaders.remove(0);
        stop.send(()).unwrap();
        task.await.unwrap().unwrap();
    });
}
