//! [`GivenBundle`]: a container is restored into the bundle that its engine has made.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde_json::Value;

use super::leftovers::{END, RESTORED, hold, remove_own, restored};
use super::wire::Hello;
use crate::archive::ContainerManifest;
use crate::local::arrival::Arrived;
use crate::local::bundle::{Bundle, CRIU_CONFIG, io, make_directory, write};
use crate::local::cgroup::Cgroup;
use crate::local::launch::{How, Launched, launch_cgroup};
use crate::local::restore::{furnish, restore};
use crate::local::{BaseRootfs, Network, Template, detach_below, surroundings};
use crate::runtime::{External, ExternalKind, Runtime};

/// A container that is being created by an engine.
#[derive(Debug)]
pub struct GivenBundle {
    bundle: Bundle,
    config: PathBuf,
    text: Value,
    spec: Spec,
    launched: Option<Launched>,
    /// From the first file of ours on.
    held: Option<File>,
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
        Ok(Self { bundle: Bundle::given(directory, &own.join(id), id, &spec), config, text, spec, launched: None, held: None })
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
            launches: true,
        })
    }

    /// The network namespace that it joins.
    fn network(&self) -> Option<PathBuf> {
        let namespaces = self.spec.linux().as_ref()?.namespaces().as_ref()?;
        namespaces.iter().find(|namespace| namespace.typ() == LinuxNamespaceType::Network)?.path().clone()
    }

    /// Starts the runtime as far as that goes without a checkpoint. The standard streams are those of this process, and were `descriptors` at the source; the options
    /// are in front of the command, and the command's own; `images` is an empty directory on the file system of what is restored from later.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn launch(
        &mut self,
        runtime: &Runtime,
        options: (Vec<OsString>, Vec<OsString>),
        (images, descriptors): (PathBuf, Vec<String>),
    ) -> Result<()> {
        if self.launched.is_none() {
            self.prepare()?;
            self.launched = Launched::ahead(runtime, &self.bundle, &how(options), (images, descriptors))?;
        }
        Ok(())
    }

    /// What is needed for any checkpoint. Done already is fine.
    fn prepare(&mut self) -> Result<()> {
        drop(self.held.take());
        self.held = Some(hold(self.bundle.own())?);
        make_directory(self.bundle.own(), 0o700)?;
        self.point_criu_at_its_configuration()?;
        for name in [launch_cgroup(&self.bundle.id), self.bundle.cgroup.clone()] {
            Cgroup::named(&name).create()?;
        }
        surroundings::prepare(&self.bundle, &self.template(self.tmpfs_mounts()))
    }

    /// Has the runtime restore it, with the connections of its images where it is `connected`: the one that was launched, or another one where that is not there any more.
    ///
    /// # Errors
    /// Nothing of it is left then.
    pub async fn restore(
        &mut self,
        runtime: &Runtime,
        options: (Vec<OsString>, Vec<OsString>),
        (directory, manifest): (PathBuf, ContainerManifest),
        connected: bool,
        deadline: Duration,
    ) -> Result<Duration> {
        let begun = Instant::now();
        let arrived = Arrived { directory, manifest };
        if !self.launched.as_mut().is_some_and(|launched| launched.fits(&arrived)) {
            self.withdraw(runtime).await?;
            self.prepare()?;
        }
        let launched = self.launched.take();
        let template = self.template(arrived.manifest.mounts.iter().filter_map(External::from_fact));
        let (launcher, cgroup) = (Cgroup::named(&launch_cgroup(&self.bundle.id)), Cgroup::named(&self.bundle.cgroup));
        let restoring = async {
            furnish(&self.bundle, &template, &arrived, connected)?;
            let launched = launched.map_or_else(|| Launched::start(runtime, &self.bundle, &how(options), &arrived), Ok)?;
            restore(runtime, &self.bundle, &arrived, launched, deadline.saturating_sub(begun.elapsed())).await?;
            cgroup.adopt(&launcher)?;
            // The copy has its own hold on what was mounted for it.
            detach_below(&self.bundle.mounts())?;
            launcher.remove()?;
            restored(self.bundle.own())
        };
        if let Err(error) = restoring.await {
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
        Cgroup::named(&self.bundle.cgroup).remove()?;
        remove_own(self.bundle.own(), &self.bundle.id)
    }

    /// Undoes a [launch](Self::launch) after which no checkpoint came. None is fine.
    ///
    /// # Errors
    /// As with [`end`](Self::end).
    pub async fn withdraw(&mut self, runtime: &Runtime) -> Result<()> {
        drop(self.launched.take());
        if self.bundle.own().exists() { self.end(runtime).await } else { Ok(()) }
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

    /// Those that its own configuration asks for, so that most of what a checkpoint needs is there before it has come.
    fn tmpfs_mounts(&self) -> impl Iterator<Item = External> {
        let of_kind = self.spec.mounts().iter().flatten().filter(|mount| mount.typ().as_deref() == Some("tmpfs"));
        of_kind.map(|mount| External { kind: ExternalKind::Tmpfs { options: String::new() }, destination: mount.destination().clone() })
    }

    /// What the checkpoint needs of its surroundings, as this container has them.
    fn template(&self, mounts: impl Iterator<Item = External>) -> Template {
        let options = |destination: &Path| {
            let wanted = self.spec.mounts().iter().flatten().find(|mount| mount.destination() == destination);
            tmpfs_options(wanted.into_iter().flat_map(|mount| mount.options().iter().flatten()))
        };
        let externals = mounts.map(|external| match external.kind {
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

fn how((global, options): (Vec<OsString>, Vec<OsString>)) -> How {
    How { global, options, inherits: true }
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

/// Marks that a container is created as usual from now on.
pub(super) fn mark(marker: &Path) -> Result<()> {
    std::fs::write(marker, "").map_err(io("the mark", marker))
}
