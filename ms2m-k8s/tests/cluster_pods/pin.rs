//! A Deployment that is pinned to the copy's node.

use std::time::Duration;

use kube::Client;
use ms2m_core::{CheckpointSource as _, ErrorKind, MigrationId, RestoreTarget as _};
use ms2m_k8s::Plan;
use ms2m_testkit_cluster::Cluster;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{bare, deployment, image, in_a_cluster, job, migration_with, other};
use crate::{Move, get};

async fn pinned(client: &Client, name: &str, pod: &str, target_node: &str) -> Move {
    let resource = migration_with(client, name, pod, Some(target_node), json!({ "placement": "Pin" })).await;
    Move::of(client, Plan::make(client, &resource).await.unwrap().0)
}

/// By a controller that crashes again and again, each time a little later. How often.
async fn promote_with_crashes(client: &Client, of: &Move, id: &MigrationId) -> u32 {
    let mut crashes = 0;
    loop {
        let again = Move::of(client, of.plan.clone());
        if let Ok(promoted) = timeout(Duration::from_millis(4 * u64::from(crashes)), again.target.promote(id)).await {
            promoted.unwrap();
            return crashes;
        }
        crashes += 1;
    }
}

fn object(cluster: &Cluster, what: &str) -> Value {
    serde_json::from_str(&cluster.kubectl(&["get", what, "--output", "json"]).unwrap()).unwrap()
}

/// What the template requires of its node, once nothing is under way at the Deployment any more.
fn required(cluster: &Cluster) -> Value {
    let deployment = object(cluster, "deployment/orders");
    assert_eq!(deployment["spec"].get("paused"), None, "{deployment:#}");
    assert_eq!(deployment["metadata"]["annotations"].get("migration.ms2m.io/pins"), None, "{deployment:#}");
    let affinity = &deployment["spec"]["template"]["spec"]["affinity"];
    affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
}

fn only(node: &str) -> Value {
    json!([{ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] }])
}

#[test]
fn a_pinned_deployment_rolls_nothing_out_and_its_next_pod_comes_to_the_same_node() {
    in_a_cluster(|cluster, client| async move {
        let source = deployment(&cluster, "orders", 1, &image(&cluster)).remove(0);
        let (sets, first) = (get(&cluster, "rs", ".items[*].metadata.name"), get(&cluster, &format!("pod/{source}"), ".spec.nodeName"));
        let second = other(&first);
        let of = pinned(&client, "there", &source, second).await;
        let id = &of.plan.migration;
        of.target.prepare(&job(id, 30)).await.unwrap();
        assert_eq!(required(&cluster), Value::Null, "nothing is pinned before the queue has changed hands");
        println!("promoted after {} crashes", promote_with_crashes(&client, &of, id).await);
        assert_eq!(required(&cluster), only(second));
        of.source.retire(id).await.unwrap();
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{source}")]).unwrap();
        of.target.promote(id).await.unwrap();
        // Had its controller been given a reason for a rollout, it would have begun one by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(get(&cluster, "rs", ".items[*].metadata.name"), sets);
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), of.plan.copy_pod);
        cluster.kubectl(&["rollout", "status", "--timeout=30s", "deployment/orders"]).unwrap();

        cluster.kubectl(&["delete", &format!("pod/{}", of.plan.copy_pod)]).unwrap();
        cluster.kubectl(&["rollout", "status", "--timeout=60s", "deployment/orders"]).unwrap();
        let fresh = get(&cluster, "pods", ".items[*].metadata.name");
        assert_eq!(get(&cluster, &format!("pod/{fresh}"), ".spec.nodeName"), second);

        // The pin holds no copy back, and goes with the next one that wants it.
        let back = pinned(&client, "back", &fresh, &first).await;
        let id = &back.plan.migration;
        back.target.prepare(&job(id, 30)).await.unwrap();
        assert_eq!(get(&cluster, &format!("pod/{}", back.plan.copy_pod), ".spec.nodeName"), first);
        back.target.promote(id).await.unwrap();
        back.source.retire(id).await.unwrap();
        assert_eq!(required(&cluster), only(&first));
        cluster.kubectl(&["wait", "--timeout=30s", "--for=delete", &format!("pod/{fresh}")]).unwrap();
        assert_eq!(get(&cluster, "rs", ".items[*].metadata.name"), sets);
        assert_eq!(get(&cluster, "pods", ".items[*].metadata.name"), back.plan.copy_pod);
        // Whoever changes the template now gets the rollout that he wants, with the pin.
        let patch = r#"{"spec": {"template": {"metadata": {"annotations": {"note": "changed"}}}}}"#;
        cluster.kubectl(&["patch", "deployment", "orders", "--patch", patch]).unwrap();
        cluster.kubectl(&["rollout", "status", "--timeout=60s", "deployment/orders"]).unwrap();
        assert_eq!(get(&cluster, "rs", ".items[*].metadata.name").split(' ').count(), 2);
        let pods = object(&cluster, "pods");
        let nodes: Vec<_> = pods["items"].as_array().unwrap().iter().map(|pod| &pod["spec"]["nodeName"]).collect();
        assert!(nodes.iter().all(|node| **node == first), "{nodes:?}");
    });
}

#[test]
fn what_cannot_be_pinned_is_refused_before_anything_is_made() {
    in_a_cluster(|cluster, client| async move {
        let image = image(&cluster);
        let source = deployment(&cluster, "orders", 2, &image).remove(0);
        bare(&cluster, "lonely", &image);
        let refused = async |name: &str, pod: &str| {
            let resource = migration_with(&client, name, pod, None, json!({ "placement": "Pin" })).await;
            let error = Plan::make(&client, &resource).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            error.to_string()
        };
        assert!(refused("bare", "lonely").await.contains("Pin is for pods of a Deployment"));
        assert!(refused("two", &source).await.contains("it has 2 pods"));
        let source = deployment(&cluster, "others", 1, &image).remove(0);
        cluster.kubectl(&["rollout", "pause", "deployment/others"]).unwrap();
        assert!(refused("paused", &source).await.contains("kubectl rollout resume deployment/others"));
        let patch = r#"{"spec": {"paused": null, "template": {"spec": {"nodeSelector": {"no": "where"}}}}}"#;
        cluster.kubectl(&["patch", "deployment", "others", "--patch", patch]).unwrap();
        assert!(refused("changed", &source).await.contains("kubectl rollout status deployment/others"));
    });
}
