//! A cluster with the definition of the resource, a client, and agents that exist in this process only.
#![allow(dead_code, reason = "each test needs a part of it")]

use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, Error, ErrorKind, MigrationId, Part,
    Receipt, RestoreJob, RestoreTarget, Restored, Result, SourceStatus, TransferBackend,
};
use ms2m_k8s::api::StatefulMigration;
use ms2m_k8s::{NodeTargets, Placed};
use ms2m_testkit_cluster::{Cluster, Image, Options};
use ms2m_testkit_machine::workspace_program;
use serde_json::{Value, json};

const DEFINITION: &str = include_str!("../../../deploy/crds/statefulmigrations.yaml");

/// Runs `test` with a cluster and its client.
pub(crate) fn in_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(Arc<Cluster>, Client) -> F + Send) {
    let cluster = Arc::new(Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}")));
    cluster.apply(DEFINITION).unwrap();
    cluster.kubectl(&["wait", "--timeout=30s", "--for=condition=Established", "crd/statefulmigrations.migration.ms2m.io"]).unwrap();
    let shared = Arc::clone(&cluster);
    cluster
        .within(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let client = client(&shared).await;
                test(shared, client).await;
            });
        })
        .unwrap();
}

async fn client(cluster: &Cluster) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// An image of a program that does nothing but go on.
pub(crate) fn image(cluster: &Cluster) -> String {
    let program = workspace_program("ms2m-testkit-cluster", "ms2m-memory-counter").unwrap();
    cluster.push("counter", &Image::of(program).arguments(["1"])).unwrap()
}

fn template(image: &str) -> Value {
    json!({
        "terminationGracePeriodSeconds": 2,
        "containers": [{ "name": "main", "image": image, "env": [{ "name": "KEPT", "value": "yes" }] }],
    })
}

/// A Deployment that is ready, and the names of its pods.
pub(crate) fn deployment(cluster: &Cluster, name: &str, replicas: u32, image: &str) -> Vec<String> {
    let labels = json!({ "app": name, "tier": "backend" });
    let template = json!({ "metadata": { "labels": labels, "annotations": { "note": "kept" } }, "spec": template(image) });
    let spec = json!({ "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": template });
    cluster
        .apply(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": spec }).to_string())
        .unwrap();
    cluster.kubectl(&["rollout", "status", "--timeout=60s", &format!("deployment/{name}")]).unwrap();
    let pods = cluster.kubectl(&["get", "pods", "--selector", &format!("app={name}"), "--output", "jsonpath={.items[*].metadata.name}"]);
    pods.unwrap().split(' ').map(str::to_owned).collect()
}

/// A pod of nobody's that is ready.
pub(crate) fn bare(cluster: &Cluster, name: &str, image: &str) {
    let pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } }, "spec": template(image) });
    cluster.apply(&pod.to_string()).unwrap();
    cluster.kubectl(&["wait", "--timeout=60s", "--for=condition=Ready", &format!("pod/{name}")]).unwrap();
}

/// A migration of `pod`, as it was created.
pub(crate) async fn migration(client: &Client, name: &str, pod: &str, target_node: Option<&str>) -> StatefulMigration {
    migration_with(client, name, pod, target_node, json!({})).await
}

/// The same with `more` in its spec.
pub(crate) async fn migration_with(client: &Client, name: &str, pod: &str, target_node: Option<&str>, more: Value) -> StatefulMigration {
    let mut spec = json!({
        "sourcePod": pod, "targetNode": target_node, "transferMode": "Direct",
        "messageQueueConfig": { "queueName": format!("queue-of-{name}"), "brokerUrl": "amqp://broker" },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let resource = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
    Api::<StatefulMigration>::namespaced(client.clone(), "default").create(&Default::default(), &resource).await.unwrap()
}

pub(crate) fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

/// The other node.
pub(crate) fn other(node: &str) -> &'static str {
    if node == "n1" { "n2" } else { "n1" }
}

pub(crate) fn job(migration: &MigrationId, seconds: u64) -> RestoreJob {
    let copy = ms2m_core::InstanceId::new("copy").unwrap();
    RestoreJob { migration: migration.clone(), copy, deadline: std::time::Duration::from_secs(seconds) }
}

/// Whatever the agents of both nodes were asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Vec<String>>);

impl Asked {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The agent of the source's node. It looks whether the pod is marked as ending before the container is ended.
pub(crate) struct SourceAgent {
    pub(crate) pods: Api<Pod>,
    pub(crate) pod: String,
    pub(crate) asked: Arc<Asked>,
    /// Whether it answers.
    pub(crate) reachable: bool,
}

impl std::fmt::Debug for SourceAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceAgent")
    }
}

fn unreachable() -> Error {
    Error::retry(ErrorKind::Unavailable, "the agent cannot be reached")
}

#[async_trait]
impl CheckpointSource for SourceAgent {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        if self.reachable { Ok(SourceStatus::Present) } else { Err(unreachable()) }
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.asked.note("checkpoint");
        Ok(Checkpoint {
            migration: job.migration.clone(),
            part: Part::Final,
            parent: None,
            archive_bytes: 4,
            freeze: std::time::Duration::from_millis(1),
            manifest: Default::default(),
        })
    }

    async fn open(&self, _: &Checkpoint, _: u64) -> Result<ByteStream> {
        Ok(Box::pin(futures_util::stream::once(async { Ok(b"bits".to_vec().into()) })))
    }

    async fn retire(&self, _: &MigrationId) -> Result<()> {
        if !self.reachable {
            return Err(unreachable());
        }
        let pod = self.pods.get_opt(&self.pod).await.unwrap();
        let ends = pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        self.asked.note(format!("retire, pod ends: {ends}"));
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        self.asked.note("discard the checkpoint");
        Ok(())
    }
}

/// The agents of all nodes, as targets.
pub(crate) struct Nodes {
    pub(crate) pods: Api<Pod>,
    pub(crate) asked: Arc<Asked>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nodes")
    }
}

#[async_trait]
impl NodeTargets for Nodes {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn target(&self, placed: &Placed) -> Result<Arc<dyn RestoreTarget>> {
        self.asked.note(format!("target on {}", placed.node));
        Ok(Arc::new(TargetAgent { pods: self.pods.clone(), placed: placed.clone(), asked: Arc::clone(&self.asked) }))
    }
}

struct TargetAgent {
    pods: Api<Pod>,
    placed: Placed,
    asked: Arc<Asked>,
}

impl std::fmt::Debug for TargetAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TargetAgent")
    }
}

#[async_trait]
impl RestoreTarget for TargetAgent {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn prepare(&self, _: &RestoreJob) -> Result<()> {
        self.asked.note("prepare");
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, _: &[Receipt], _: Arc<dyn TransferBackend>) -> Result<Restored> {
        self.asked.note("restore");
        Ok(Restored { copy: job.copy.clone(), restore: std::time::Duration::from_millis(1) })
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        Ok(CopyStatus::Present)
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        self.asked.note("promote");
        Ok(())
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        let pod = self.pods.get_opt(&self.placed.pod).await.unwrap();
        let ends = pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        self.asked.note(format!("discard the copy, pod ends: {ends}"));
        Ok(())
    }
}
