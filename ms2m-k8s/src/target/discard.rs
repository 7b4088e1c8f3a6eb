//! The copy and its pod end.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use ms2m_core::{Error, ErrorKind, MigrationId, Result};

use super::KubeTarget;
use crate::api::MIGRATION_LABEL;
use crate::error;
use crate::watch::{Look, until};

/// How long the kubelet may take within one call, which is repeated.
const PATIENCE: Duration = Duration::from_secs(6);

impl KubeTarget {
    /// First the pod is marked as ending, so that the kubelet starts no container of it again; then the node ends the copy for certain; and only then
    /// nothing needs to be waited for.
    pub(super) async fn remove(&self, migration: &MigrationId) -> Result<()> {
        let Some(copy) = self.copy().await? else { return self.forget(migration).await };
        if !copy.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MIGRATION_LABEL)) {
            return Err(Error::fatal(ErrorKind::Invariant, "the copy was promoted already: it is the workload's own pod, and stays")
                .with("pod", &self.plan.copy_pod));
        }
        let agent = self.agent().await;
        self.delete(&copy, None).await?;
        let ended = match agent {
            Ok(Some(agent)) => agent.discard(migration).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => self.delete(&copy, Some(0)).await?,
            // The kubelet removes a pod when its containers have ended, so that is as good.
            Err(error) => self.removed(&copy, PATIENCE).await.map_err(|_| error)?,
        }
        *self.agent.lock().await = None;
        Ok(())
    }

    /// The pod is gone. Where somebody else has deleted it, its container may be on its way to the node's gate still, and the node may expect a checkpoint: an agent
    /// that can be reached is told. Whoever deletes a pod by force says by that to everybody that none of its processes is left.
    async fn forget(&self, migration: &MigrationId) -> Result<()> {
        let known = self.agent.lock().await.clone();
        let agent = match known {
            Some(agent) => agent,
            None => match self.published().await? {
                Some(expected) => self.nodes.target(&expected).await?,
                None => return Ok(()),
            },
        };
        if let Err(error) = agent.discard(migration).await {
            tracing::info!(%migration, %error, "the copy's node does not know that it is gone");
        }
        *self.agent.lock().await = None;
        Ok(())
    }

    pub(super) async fn removed(&self, copy: &Pod, limit: Duration) -> Result<()> {
        until(&self.pods, &self.plan.copy_pod, limit, "the kubelet to remove the copy", |pod| {
            let there = pod.is_some_and(|pod| pod.metadata.uid == copy.metadata.uid);
            Ok(if there { Look::NotYet("it is being deleted".to_owned()) } else { Look::Found(()) })
        })
        .await
    }

    async fn delete(&self, copy: &Pod, grace_seconds: Option<u32>) -> Result<()> {
        let only_this = Preconditions { uid: copy.metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams { grace_period_seconds: grace_seconds, ..DeleteParams::default() }.preconditions(only_this);
        match self.pods.delete(&self.plan.copy_pod, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error::api(error, "delete the copy's pod").with("pod", &self.plan.copy_pod)),
        }
    }
}
