//! [`GivenBundle`]: a container is restored into the bundle that its engine has made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde_json::Value;

use super::wire::Hello;
use crate::archive::{ContainerManifest, MountFact};
use crate::local::arrival::Arrived;
use crate::local::bundle::{Bundle, CRIU_CONFIG, io, make_directory, remove_directory, write};
use crate::local::cgroup::Cgroup;
use crate::local::restore::{How, furnish, launch_cgroup, restore};
use crate::local::{BaseRootfs, Network, Template, detach_below, surroundings};
use crate::runtime::{External, ExternalKind, Runtime};

/// How long processes that were killed may take to end.
const END: Duration = Duration::from_secs(20);
/// There when the container was restored: it runs already when its engine starts it.
const RESTORED: &str = "restored";

/// A container that is being created by an engine.
#[derive(Debug)]
pub struct GivenBundle {
    bundle: Bundle,
    config: PathBuf,
    text: Value,
    spec: Spec,
}

impl GivenBundle {
    /// The bundle in this directory; files of ours are kept below `own` for as long as the container is known to its engine.
    ///
    /// # Errors
    /// When its configuration cannot be read.
    pub fn open(directory: &Path, own: &Path, id: &str) -> Result<Self> {
        let config = directory.join("config.json");
        let invalid = |error: &dyn std::fmt::Display| {
            let message = "the container's configuration cannot be read";
            Error::fatal(ErrorKind::Invalid, message).with("file", config.display()).caused_by(error.to_string())
        };
        let json = std::fs::read(&config).map_err(|error| invalid(&error))?;
        let text: Value = serde_json::from_slice(&json).map_err(|error| invalid(&error))?;
        let spec: Spec = serde_json::from_value(text.clone()).map_err(|error| invalid(&error))?;
        Ok(Self { bundle: Bundle::given(directory, &own.join(id), id, &spec), config, text, spec })
    }

    /// An annotation of its configuration.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.text["annotations"][name].as_str()
    }

    /// The name of its cgroup, below each hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.bundle.cgroup
    }

    /// The file in which it is marked that the container is created as usual: in the pod's directory of kubelet, which outlives the pod's
    /// sandbox and the machine's restart, and goes with the pod; where kubelet keeps nothing there, beside the sandbox's files.
    #[must_use]
    pub fn marker(&self, container: &str) -> Option<PathBuf> {
        let source = |at: &str| {
            let mut mounts = self.spec.mounts().iter().flatten();
            mounts.find(|mount| mount.destination() == Path::new(at))?.source().clone()
        };
        let hosts = source("/etc/hosts").filter(|file| file.file_name().is_some_and(|name| name == "etc-hosts"));
        let beside = hosts.or_else(|| source("/etc/hostname"))?;
        Some(beside.parent()?.join(format!("ms2m-restored-{container}")))
    }

    /// What is said at the gate.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when an annotation is missing or odd.
    pub fn hello(&self, migration: &str, container: &str, pod_uid: &str) -> Result<Hello> {
        let marker = self.marker(container).ok_or_else(|| {
            let message = "the container has no /etc/hosts or /etc/hostname from its engine, beside which it could be marked as restored";
            Error::fatal(ErrorKind::Unsupported, message)
        })?;
        Ok(Hello {
            migration: migration.parse()?,
            container: container.to_owned(),
            id: self.bundle.id.clone(),
            pod_uid: pod_uid.to_owned(),
            cgroup: self.bundle.cgroup.clone(),
            marker,
            network: self.network(),
        })
    }

    /// The network namespace that it joins.
    fn network(&self) -> Option<PathBuf> {
        let namespaces = self.spec.linux().as_ref()?.namespaces().as_ref()?;
        namespaces.iter().find(|namespace| namespace.typ() == LinuxNamespaceType::Network)?.path().clone()
    }

    /// Has the runtime restore it, with the connections of its images where it is `connected`. The standard streams are those of this process; `options` are the runtime's own for this command.
    ///
    /// # Errors
    /// Nothing of it is left then.
    pub async fn restore(
        mut self,
        runtime: &Runtime,
        (global, options): (Vec<OsString>, Vec<OsString>),
        (directory, manifest): (PathBuf, ContainerManifest),
        connected: bool,
        deadline: Duration,
    ) -> Result<Duration> {
        let begun = Instant::now();
        make_directory(self.bundle.own(), 0o700)?;
        self.point_criu_at_its_configuration()?;
        let template = self.template(&manifest.mounts);
        let (launched, cgroup) = (Cgroup::named(&launch_cgroup(&self.bundle.id)), Cgroup::named(&self.bundle.cgroup));
        let arrived = Arrived { directory, manifest };
        let how = How { global, options, inherits: true };
        let restored = async {
            surroundings::prepare(&self.bundle, &template)?;
            cgroup.create()?;
            launched.create()?;
            furnish(&self.bundle, &template, &arrived, connected)?;
            restore(runtime, &self.bundle, &arrived, &how, deadline.saturating_sub(begun.elapsed())).await?;
            cgroup.adopt(&launched)?;
            // The copy has its own hold on what was mounted for it.
            detach_below(&self.bundle.mounts())?;
            launched.remove()?;
            write(&self.bundle.own().join(RESTORED), "")
        };
        if let Err(error) = restored.await {
            self.end(runtime).await?;
            return Err(error);
        }
        Ok(begun.elapsed())
    }

    /// Ends what there is of it, for certain, and removes what was made for it. Missing is fine.
    ///
    /// # Errors
    /// When something of it may still run.
    pub async fn end(&self, runtime: &Runtime) -> Result<()> {
        Cgroup::named(&launch_cgroup(&self.bundle.id)).kill(END).await?;
        Cgroup::named(&self.bundle.cgroup).kill(END).await?;
        runtime.remove(&self.bundle.id).await?;
        runtime.forget(&self.bundle.id)?;
        remove_own(self.bundle.own(), &self.bundle.id)
    }

    /// Where runc and crun look for it.
    fn point_criu_at_its_configuration(&mut self) -> Result<()> {
        let odd = || Error::fatal(ErrorKind::Invalid, "the container's configuration is none").with("file", self.config.display());
        let annotations =
            self.text.as_object_mut().ok_or_else(odd)?.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        let config = self.bundle.criu_config().display().to_string();
        annotations.as_object_mut().ok_or_else(odd)?.insert(CRIU_CONFIG.to_owned(), Value::String(config));
        write(&self.config, &self.text.to_string())
    }

    /// What the checkpoint needs of its surroundings, as this container has them.
    fn template(&self, mounts: &[MountFact]) -> Template {
        let options = |destination: &Path| {
            let wanted = self.spec.mounts().iter().flatten().find(|mount| mount.destination() == destination);
            tmpfs_options(wanted.into_iter().flat_map(|mount| mount.options().iter().flatten()))
        };
        let externals = mounts.iter().filter_map(External::from_fact).map(|external| match external.kind {
            ExternalKind::Tmpfs { .. } => {
                External { kind: ExternalKind::Tmpfs { options: options(&external.destination) }, destination: external.destination }
            }
            _ => external,
        });
        Template {
            name: String::new(),
            spec: self.spec.clone(),
            rootfs: BaseRootfs::CopyOf(PathBuf::new()),
            externals: externals.collect(),
            // Its engine mounts one.
            identity_file: PathBuf::new(),
            network: Network::AsConfigured,
        }
    }
}

/// Those that are the file system's own.
fn tmpfs_options<'a>(options: impl Iterator<Item = &'a String>) -> String {
    let own = |option: &&String| ["size=", "nr_inodes=", "nr_blocks=", "mode=", "uid=", "gid="].iter().any(|own| option.starts_with(own));
    options.filter(own).cloned().collect::<Vec<_>>().join(",")
}

/// Whether this container was restored, so that it runs already.
#[must_use]
pub fn was_restored(own: &Path, id: &str) -> bool {
    own.join(id).join(RESTORED).exists()
}

/// Removes what restores of a container have left, also one that was interrupted. Missing is fine.
///
/// # Errors
/// When something of it may still run.
pub async fn remove_leftovers(own: &Path, id: &str) -> Result<()> {
    let own = own.join(id);
    if own.exists() {
        Cgroup::named(&launch_cgroup(id)).kill(END).await?;
        remove_own(&own, id)?;
    }
    Ok(())
}

fn remove_own(own: &Path, id: &str) -> Result<()> {
    detach_below(own)?;
    Cgroup::named(&launch_cgroup(id)).remove()?;
    remove_directory(own)
}

/// Marks that a container is created as usual from now on.
pub(super) fn mark(marker: &Path) -> Result<()> {
    std::fs::write(marker, "").map_err(io("the mark", marker))
}
