//! [`SourcePod`]: a pod as the API server has it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, InstanceId, Result};
use serde_json::Value;

use crate::api::annotations::IDENTITY;
use crate::error;

/// Longest host name that the kernel takes, in bytes.
pub(super) const HOST_NAME_BYTES_MAX: usize = 63;

/// By what a consumer tells itself from its copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    /// Its host name, in `/etc/hostname`.
    Hostname,
    /// Its pod's UID, in a file of the downward API.
    Uid,
}

/// The pod whose consumer moves: to be asked, and with every field that the server knows, also those that are newer than these bindings.
#[derive(Clone, Debug)]
pub struct SourcePod {
    pod: Pod,
    raw: Value,
}

impl SourcePod {
    /// Reads it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and the API server's own.
    pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self> {
        let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Pod>(&()));
        let found = pods.get_opt(name).await.map_err(|error| error::api(error, "read the source's pod"))?;
        let found = found.ok_or_else(|| {
            Error::fatal(ErrorKind::NotFound, "there is no such pod: name one that runs, in the namespace of the migration")
                .with("pod", name)
                .with("namespace", namespace)
        })?;
        Self::of(serde_json::to_value(found).map_err(unreadable)?)
    }

    /// Takes one that was read elsewhere.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it is no pod.
    pub fn of(raw: Value) -> Result<Self> {
        let pod = serde_json::from_value(raw.clone()).map_err(unreadable)?;
        Ok(Self { pod, raw })
    }

    /// The pod, as far as the bindings know it.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// All of it.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// Which pod of that name it is.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// One of its annotations.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// The node it runs on.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.pod.spec.as_ref()?.node_name.as_deref()
    }

    /// The container of that name, or the first one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub fn container<'a>(&'a self, name: Option<&'a str>) -> Result<&'a str> {
        let names: Vec<&str> = self.pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
        let found = match name {
            None => names.first(),
            Some(wanted) => names.iter().find(|name| **name == wanted),
        };
        found.copied().ok_or_else(|| {
            Error::fatal(ErrorKind::NotFound, format!("the pod has no such container: it has {}", names.join(", ")))
                .with("container", name.unwrap_or_default())
        })
    }

    /// What is known of a container.
    #[must_use]
    pub fn status_of(&self, container: &str) -> Option<&ContainerStatus> {
        self.pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == container)
    }

    /// By what its consumer knows itself, as the annotation [`IDENTITY`] says.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it says something else.
    pub fn identity(&self) -> Result<Identity> {
        match self.annotation(IDENTITY) {
            None | Some("hostname") => Ok(Identity::Hostname),
            Some("uid") => Ok(Identity::Uid),
            Some(other) => {
                let message =
                    format!("annotation {IDENTITY} of the pod is `{other}`: write hostname or uid, by what its consumer knows itself");
                Err(Error::fatal(ErrorKind::Invalid, message).with("pod", self.name()))
            }
        }
    }

    /// As whom its consumer is known: the content of its `/etc/hostname`, or its UID.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when that is no name.
    pub fn instance(&self) -> Result<InstanceId> {
        if self.identity()? == Identity::Uid {
            return InstanceId::new(self.uid());
        }
        let given = self.pod.spec.as_ref().and_then(|spec| spec.hostname.as_deref());
        let name = given.unwrap_or_else(|| self.name());
        // As the kubelet shortens it.
        let end = name.len().min(HOST_NAME_BYTES_MAX);
        InstanceId::new(name.get(..end).unwrap_or(name).trim_end_matches(['-', '.']))
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::fatal(ErrorKind::Corrupt, "the API server's pod cannot be read").caused_by(error)
}
