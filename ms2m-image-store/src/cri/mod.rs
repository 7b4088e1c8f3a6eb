//! [`Cri`]: what kubelet asks of the node's container runtime, asked in the same way.
//!
//! So what is seen here is what kubelet sees, and an image that is removed here is gone for it when the call returns. It has no part in what the stores do: the
//! interface takes no archives.

mod call;
mod messages;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use prost::Message;

use messages::{
    CheckpointContainerRequest, ContainerFilter, ImageRequest, ImageSpec, ImageStatusResponse, ListContainersRequest,
    ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse, Nothing, PodSandbox, PodSandboxFilter, StopContainerRequest,
    VersionRequest, VersionResponse,
};

/// For what is answered at once.
const WITHIN: Duration = Duration::from_secs(20);
/// The versions of containerd that restore from images.
const CONTAINERD: RangeInclusive<(u32, u32)> = (2, 1)..=(2, 3);
/// Labels that kubelet gives to sandboxes and containers.
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER: &str = "io.kubernetes.container.name";

/// The container runtime behind a socket of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cri {
    socket: PathBuf,
}

/// Which one it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CriVersion {
    /// `containerd`, `cri-o` …
    pub name: String,
    /// Its version, as it writes it.
    pub version: String,
}

impl CriVersion {
    /// Its first two numbers.
    #[must_use]
    pub fn numbers(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Whether it is one that restores a container from an image of its checkpoint. It may be told not to.
    #[must_use]
    pub fn restores_from_images(&self) -> bool {
        match self.name.as_str() {
            "containerd" => self.numbers().is_none_or(|numbers| CONTAINERD.contains(&numbers)),
            name => name == "cri-o",
        }
    }
}

/// A container of a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CriContainer {
    /// Its id.
    pub id: String,
    /// What it does.
    pub state: CriState,
}

/// What a container does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CriState {
    /// It is made, and not started yet.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

impl Cri {
    /// Behind this socket.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    async fn ask<A: Message + Default>(&self, method: &str, question: &impl Message) -> Result<A> {
        call::call(&self.socket, &format!("runtime.v1.{method}"), question, WITHIN).await
    }

    /// Who answers.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn version(&self) -> Result<CriVersion> {
        let VersionResponse { runtime_name, runtime_version } = self.ask("RuntimeService/Version", &VersionRequest {}).await?;
        Ok(CriVersion { name: runtime_name, version: runtime_version })
    }

    /// The id of the image with this name; `None` when kubelet would say that there is none.
    ///
    /// # Errors
    /// When the runtime does not say.
    pub async fn image(&self, name: &str) -> Result<Option<String>> {
        let answer: ImageStatusResponse = self.ask("ImageService/ImageStatus", &of_image(name)).await?;
        Ok(answer.image.map(|image| image.id))
    }

    /// Removes the image with this name, and all other names that it has. Missing is fine.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn remove_image(&self, name: &str) -> Result<()> {
        match self.ask::<Nothing>("ImageService/RemoveImage", &of_image(name)).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the pod with this UID has what its containers need: namespaces and network.
    ///
    /// # Errors
    /// When the runtime does not say.
    pub async fn pod_is_ready(&self, pod_uid: &str) -> Result<bool> {
        Ok(self.sandboxes(pod_uid).await?.iter().any(|sandbox| sandbox.state == 0))
    }

    /// Whether the runtime knows anything of the pod with this UID: also when nothing of it runs, after a restart of the machine for example.
    ///
    /// # Errors
    /// When the runtime does not say.
    pub async fn pod_exists(&self, pod_uid: &str) -> Result<bool> {
        Ok(!self.sandboxes(pod_uid).await?.is_empty())
    }

    async fn sandboxes(&self, pod_uid: &str) -> Result<Vec<PodSandbox>> {
        let filter = PodSandboxFilter { label_selector: HashMap::from([(POD_UID.to_owned(), pod_uid.to_owned())]) };
        let answer: ListPodSandboxResponse =
            self.ask("RuntimeService/ListPodSandbox", &ListPodSandboxRequest { filter: Some(filter) }).await?;
        Ok(answer.items)
    }

    /// The containers of this name in the pod with this UID: after a restart more than one.
    ///
    /// # Errors
    /// When the runtime does not say.
    pub async fn containers(&self, pod_uid: &str, name: &str) -> Result<Vec<CriContainer>> {
        let labels = [(POD_UID, pod_uid), (CONTAINER, name)].map(|(label, value)| (label.to_owned(), value.to_owned()));
        let filter = Some(ContainerFilter { label_selector: HashMap::from(labels) });
        let answer: ListContainersResponse = self.ask("RuntimeService/ListContainers", &ListContainersRequest { filter }).await?;
        let state = |state| match state {
            0 => CriState::Created,
            1 => CriState::Running,
            2 => CriState::Exited,
            _ => CriState::Unknown,
        };
        Ok(answer.containers.into_iter().map(|one| CriContainer { id: one.id, state: state(one.state) }).collect())
    }

    /// Kills a container, and returns when it has ended. Missing is fine.
    ///
    /// # Errors
    /// When it may still run.
    pub async fn kill(&self, container: &str) -> Result<()> {
        let question = StopContainerRequest { container_id: container.to_owned(), timeout: 0 };
        match self.ask::<Nothing>("RuntimeService/StopContainer", &question).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Has the runtime write a checkpoint of a container, which runs on: what kubelet's call of that name does.
    ///
    /// # Errors
    /// What the runtime says, or that it takes too long.
    pub async fn checkpoint(&self, container: &str, archive: &Path, within: Duration) -> Result<()> {
        let timeout = i64::try_from(within.as_secs()).unwrap_or(i64::MAX).max(1);
        let location = archive.display().to_string();
        let question = CheckpointContainerRequest { container_id: container.to_owned(), location, timeout };
        let asked = call::call::<_, Nothing>(&self.socket, "runtime.v1.RuntimeService/CheckpointContainer", &question, within).await;
        asked.map(drop).map_err(|error| match error.kind() {
            ErrorKind::Other => Error::undo(
                ErrorKind::Other,
                format!(
                    "{}; CRIU's log lies in the container's directory of the runtime. Connections need `tcp-close` in /etc/criu/runc.conf",
                    error.message()
                ),
            ),
            _ => error,
        })
    }
}

fn of_image(name: &str) -> ImageRequest {
    ImageRequest { image: Some(ImageSpec { image: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_numbers_of_a_version_are_found() {
        let of = |version: &str| CriVersion { name: "containerd".into(), version: version.into() }.numbers();
        assert_eq!(of("v2.1.9"), Some((2, 1)));
        assert_eq!(of("2.3.0-rc.1+ds1"), Some((2, 3)));
        assert_eq!(of("1.36.1"), Some((1, 36)));
        assert_eq!(of("unknown"), None);
    }

    #[test]
    fn who_restores_from_images_is_known() {
        let restores = |name: &str, version: &str| CriVersion { name: name.into(), version: version.into() }.restores_from_images();
        assert!(restores("containerd", "v2.1.9") && restores("containerd", "2.3.1") && restores("cri-o", "1.36.0"));
        assert!(!restores("containerd", "1.7.28") && !restores("containerd", "2.4.0") && !restores("docker", "29.0"));
    }
}
