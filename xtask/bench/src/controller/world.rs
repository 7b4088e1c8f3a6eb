//! Pods to migrate, and the migrations.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ms2m_core::Phase;
use ms2m_k8s::api::StatefulMigration;
use ms2m_testkit_cluster::Cluster;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{client, nodes};

/// Generous: this only ends a run that stands still.
const WITHIN: Duration = Duration::from_secs(1800);
const CALLS_MAX: usize = 16;
const SELECTOR: &str = "app=consumer";

/// How long it takes is measured; that it takes long on a small machine is no reason to roll back.
fn timeouts() -> serde_json::Value {
    let parts = ["pending", "checkpointing", "transferring", "restoring", "replaying", "finalizing", "completing", "rollingBack"];
    parts.iter().map(|part| (format!("{part}Seconds"), json!(3600))).collect::<serde_json::Map<_, _>>().into()
}

pub(super) struct World {
    client: Client,
    migrations: usize,
    kubelets: JoinHandle<Result<()>>,
}

impl World {
    /// The nodes, with one pod for each migration spread over them.
    pub(super) async fn make(cluster: &Cluster, migrations: usize) -> Result<Self> {
        let client = client::admin(cluster).await?;
        nodes::make(&client).await?;
        let kubelets = tokio::spawn(nodes::live(client.clone()));
        let world = Self { client, migrations, kubelets };
        let pods = world.pods();
        let made = stream::iter(0..migrations).map(|number| {
            let spec = json!({
                "nodeName": nodes::name(number), "nodeSelector": { nodes::LABEL: "simulated" },
                "containers": [{ "name": "main", "image": "consumer", "env": [{ "name": "QUEUE", "value": format!("queue-{number}") }] }],
            });
            let pod = json!({ "metadata": { "name": format!("consumer-{number}"), "labels": { "app": "consumer" } }, "spec": spec });
            let pods = &pods;
            async move { pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await.map(drop).map_err(anyhow::Error::from) }
        });
        made.buffer_unordered(CALLS_MAX).try_collect::<()>().await?;
        world.settle().await?;
        Ok(world)
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    fn resources(&self) -> Api<StatefulMigration> {
        Api::default_namespaced(self.client.clone())
    }

    /// There is one running pod for each migration, and no other.
    async fn settle(&self) -> Result<Vec<String>> {
        let settled = async {
            loop {
                let pods = self.pods().list(&ListParams::default().labels(SELECTOR)).await?.items;
                let runs = |pod: &Pod| {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
                };
                if pods.len() == self.migrations && pods.iter().all(runs) {
                    return Ok(pods.iter().map(|pod| pod.name_any()).collect());
                }
                ensure!(!self.kubelets.is_finished(), "the simulated kubelets have ended");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        timeout(WITHIN, settled).await?
    }

    /// Migrates all of them at once, until all are completed.
    pub(super) async fn migrate_all(&self, run: u32) -> Result<()> {
        let resources = self.resources();
        let sources = self.settle().await?;
        let create = stream::iter(sources.iter().enumerate()).map(|(number, pod)| {
            let queue = json!({ "queueName": format!("queue-{number}"), "brokerUrl": "amqp://broker" });
            let spec = json!({
                "sourcePod": pod, "transferMode": "Direct", "messageQueueConfig": queue, "timeouts": timeouts(), "handover": { "deadlineSeconds": 600 },
            });
            let resource = json!({ "metadata": { "name": format!("move-{run}-{number}") }, "spec": spec });
            let resources = &resources;
            async move {
                resources.create(&PostParams::default(), &serde_json::from_value(resource)?).await.map(drop).map_err(anyhow::Error::from)
            }
        });
        create.buffer_unordered(CALLS_MAX).try_collect::<()>().await?;
        timeout(WITHIN, self.all_completed()).await?
    }

    async fn all_completed(&self) -> Result<()> {
        let mut completed = std::collections::BTreeSet::new();
        let mut seen = std::pin::pin!(watcher(self.resources(), watcher::Config::default()).default_backoff().applied_objects());
        while completed.len() < self.migrations {
            let Some(resource) = seen.try_next().await? else { break };
            let status = resource.status.clone().unwrap_or_default();
            match status.phase {
                Some(Phase::Completed) => drop(completed.insert(resource.name_any())),
                Some(Phase::Failed) => anyhow::bail!("{} has failed: {}", resource.name_any(), status.message.unwrap_or_default()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what tells of a run.
    pub(super) async fn clear(&self) -> Result<()> {
        let resources = self.resources();
        let none = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        // Its controller is gone, which would have taken the last of them away.
        for resource in resources.list(&ListParams::default()).await?.items {
            if resource.metadata.finalizers.is_some() {
                resources.patch(&resource.name_any(), &Default::default(), &none).await?;
            }
        }
        resources.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let gone = async {
            while !resources.list(&ListParams::default()).await?.items.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            anyhow::Ok(())
        };
        timeout(WITHIN, gone).await?
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelets.abort();
    }
}
