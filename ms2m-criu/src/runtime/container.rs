//! A running container, looked at from outside.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{ContainerState, ContainerStatus, External, Layers, Process, Runtime, mounts};

/// A running container.
#[derive(Debug)]
pub struct Container {
    id: String,
    process: Process,
    bundle: PathBuf,
    rootfs: PathBuf,
    spec: Spec,
}

impl Container {
    /// Looks at a running container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of that name or it does not run; [`ErrorKind::Unsupported`] when it has no pid
    /// namespace of its own, without which its copy cannot have the same process ids.
    pub async fn inspect(runtime: &Runtime, id: &str) -> Result<Self> {
        let not_found =
            |message: String| Error::fatal(ErrorKind::NotFound, message).with("container", id).with("runtime", runtime.flavor());
        let state =
            runtime.state(id).await?.ok_or_else(|| not_found("there is no such container; `list` of the runtime shows them".into()))?;
        match state.status {
            ContainerStatus::Running | ContainerStatus::Paused => Self::of(state),
            status => Err(not_found(format!("the container does not run, it is {status:?}"))),
        }
    }

    fn of(state: ContainerState) -> Result<Self> {
        let gone = || Error::fatal(ErrorKind::NotFound, "the container has just ended").with("container", &state.id);
        let process = Process::open(state.pid)?.ok_or_else(gone)?;
        let file = state.bundle.join("config.json");
        let spec = Spec::load(&file).map_err(|error| {
            Error::fatal(ErrorKind::Invalid, "the container's configuration cannot be read").with("file", file.display()).caused_by(error)
        })?;
        let root = spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path());
        let rootfs = state.bundle.join(root);
        let container = Self { id: state.id, process, rootfs, bundle: state.bundle, spec };
        if !container.has_own(LinuxNamespaceType::Pid) {
            let message = "the container shares its process ids with the machine; give it a pid namespace of its own";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("container", &container.id));
        }
        Ok(container)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its first process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Its root file system, as this machine sees it.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Its configuration.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its root file system as its first process sees it, mounts included.
    #[must_use]
    pub fn proc_root(&self) -> PathBuf {
        format!("/proc/{}/root", self.process.pid()).into()
    }

    /// What the standard streams are connected to, as `descriptors.json` of runc and crun lists it.
    ///
    /// # Errors
    /// When the process has none or has ended.
    pub fn descriptors(&self) -> Result<Vec<String>> {
        let link = |fd: u32| match std::fs::read_link(format!("/proc/{}/fd/{fd}", self.process.pid())) {
            Ok(path) => Ok(path.to_string_lossy().into_owned()),
            // A daemon may have closed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("/dev/null".to_owned()),
            Err(error) => Err(Error::undo(ErrorKind::Other, "the container's standard streams cannot be looked at").caused_by(error)),
        };
        (0..3).map(link).collect()
    }

    /// The mounts that come from outside of the container and must be provided for the copy.
    ///
    /// # Errors
    /// When its mounts cannot be read.
    pub fn externals(&self) -> Result<Vec<External>> {
        mounts::externals(self)
    }

    /// The layers of its root file system; `None` when that is a plain directory.
    ///
    /// # Errors
    /// When its mounts cannot be read.
    pub fn layers(&self) -> Result<Option<Layers>> {
        mounts::layers(self)
    }

    /// Whether it has a namespace of this type that was made for it alone.
    #[must_use]
    pub fn has_own(&self, kind: LinuxNamespaceType) -> bool {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|list| list.iter().any(|namespace| namespace.typ() == kind && namespace.path().is_none()))
    }

    /// Its network namespace, by the number that names it on this machine.
    ///
    /// # Errors
    /// When it has ended.
    pub fn network(&self) -> Result<u64> {
        network_of(&self.process.pid().to_string())
    }

    /// Whether these containers are together in a network that is not the machine's.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when some of them are and some are not: their connections could not be told apart.
    pub fn share_network<'a>(containers: impl IntoIterator<Item = &'a Self>) -> Result<bool> {
        let containers: Vec<_> = containers.into_iter().collect();
        let networks = containers.iter().map(|container| container.network()).collect::<Result<Vec<_>>>()?;
        let machine = network_of("self")?;
        let Some(first) = networks.first() else { return Ok(false) };
        if networks.iter().all(|network| network == first) {
            return Ok(*first != machine);
        }
        // Its own, or the machine's: CRIU dumps the one and leaves the other alone.
        let apart = |(container, network): (&&Self, &u64)| {
            let alone = networks.iter().filter(|other| *other == network).count() == 1;
            container.joined(LinuxNamespaceType::Network).is_none() && (alone || *network == machine)
        };
        if containers.iter().zip(&networks).all(apart) {
            return Ok(false);
        }
        let message = "containers that move together must share one network namespace, or none";
        Err(Error::fatal(ErrorKind::Unsupported, message))
    }

    /// The path of a namespace that it joined, for example its pod's network.
    #[must_use]
    pub fn joined(&self, kind: LinuxNamespaceType) -> Option<&Path> {
        let namespaces = self.spec.linux().as_ref()?.namespaces().as_ref()?;
        namespaces.iter().find(|namespace| namespace.typ() == kind)?.path().as_deref()
    }
}

fn network_of(process: &str) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let cannot = |error| {
        let message = "the network namespace of a process cannot be looked at; it may have ended";
        Error::undo(ErrorKind::Other, message).with("process", process).caused_by(error)
    };
    Ok(std::fs::metadata(format!("/proc/{process}/ns/net")).map_err(cannot)?.ino())
}
