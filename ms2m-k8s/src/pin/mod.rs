//! [`Pin`]: a Deployment's template requires the node to which its pod has moved, without a rollout.

mod step;

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde_json::Value;

use self::step::{Step, next, obstacle};
use crate::error;
use crate::node::hostname;
use crate::owner::Owner;
use crate::watch::{States, of_one};

/// A Deployment and its ReplicaSet, with every field that the server knows: templates are compared as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    deployments: Api<DynamicObject>,
    sets: Api<DynamicObject>,
    deployment: String,
    set: String,
    set_uid: String,
}

impl Pin {
    /// Of an owner that has such.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for all others.
    pub(crate) fn of(client: &Client, namespace: &str, owner: &Owner) -> Result<Self> {
        if let Owner::ReplicaSet(set) = owner
            && let Some(deployment) = &set.deployment
        {
            return Ok(Self::new(client, namespace, deployment, (&set.name, &set.uid)));
        }
        Err(Error::fatal(ErrorKind::Unsupported, "placement: Pin is for pods of a Deployment; leave it out"))
    }

    pub(crate) fn new(client: &Client, namespace: &str, deployment: &str, (set, set_uid): (&str, &str)) -> Self {
        Self {
            deployments: Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Deployment>(&())),
            sets: Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ReplicaSet>(&())),
            deployment: deployment.to_owned(),
            set: set.to_owned(),
            set_uid: set_uid.to_owned(),
        }
    }

    /// Whether it can be pinned as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] with what is in the way.
    pub(crate) async fn check(&self) -> Result<()> {
        let found = self.deployments.get_opt(&self.deployment).await.map_err(|error| error::api(error, "read the Deployment"))?;
        let deployment = raw(&found.ok_or_else(|| gone(&self.deployment))?)?;
        match obstacle(&deployment, self.set().await?.as_ref()) {
            None => Ok(()),
            Some(why) => {
                let message = format!("placement: Pin cannot be had of the Deployment: {why}");
                Err(Error::fatal(ErrorKind::Unsupported, message).with("deployment", &self.deployment))
            }
        }
    }

    /// Pins it, or goes on with that; done, when it is done already. It may be repeated.
    ///
    /// # Errors
    /// To be tried again: what is in the way, or has not come in `limit`.
    pub(crate) async fn pin(&self, client: &Client, migration: &MigrationId, node: &str, limit: Duration) -> Result<()> {
        let hostname = hostname(client, node).await?;
        let states = pin!(of_one(self.deployments.clone(), &self.deployment));
        let mut states = States::new(states, limit, "the Deployment to be pinned", ("deployment", &self.deployment));
        loop {
            let deployment = raw(&*states.next().await?.ok_or_else(|| gone(&self.deployment))?)?;
            let set = self.set().await?;
            let (objects, name, patch) = match next(&deployment, set.as_ref(), migration.as_str(), &hostname) {
                Step::Done => return Ok(()),
                Step::Wait(why) => {
                    states.not_yet(why.to_owned());
                    continue;
                }
                Step::Obstacle(why) => {
                    let message = format!("the Deployment is not pinned yet: {why}");
                    return Err(Error::retry(ErrorKind::Unavailable, message).with("deployment", &self.deployment));
                }
                Step::Deployment(patch) => (&self.deployments, &self.deployment, patch),
                Step::ReplicaSet(patch) => (&self.sets, &self.set, patch),
            };
            states.not_yet(format!("{name} was changed meanwhile"));
            match objects.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => {}
                // Another version of it, which comes by the watch if it is the Deployment.
                Err(kube::Error::Api(status)) if status.code == 409 && name == &self.deployment => {}
                Err(error) => return Err(error::api(error, "pin the Deployment").with("deployment", &self.deployment)),
            }
        }
    }

    /// The ReplicaSet, if it is still the one.
    async fn set(&self) -> Result<Option<Value>> {
        let found = self.sets.get_opt(&self.set).await.map_err(|error| error::api(error, "read the ReplicaSet"))?;
        found.filter(|set| set.metadata.uid.as_deref() == Some(&self.set_uid)).as_ref().map(raw).transpose()
    }
}

fn raw(object: &DynamicObject) -> Result<Value> {
    serde_json::to_value(object)
        .map_err(|error| Error::fatal(ErrorKind::Corrupt, "the API server's answer cannot be read").caused_by(error))
}

fn gone(deployment: &str) -> Error {
    Error::retry(ErrorKind::NotFound, "the Deployment is gone: somebody has deleted it").with("deployment", deployment)
}
