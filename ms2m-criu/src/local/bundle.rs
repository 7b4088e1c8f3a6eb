//! The copy's bundle.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, InstanceId, Result};
use oci_spec::runtime::{Linux, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, Spec};

use super::mount;
use super::template::{BaseRootfs, Template};

/// The annotation by which runc and crun take a configuration of CRIU's for one container.
pub(crate) const CRIU_CONFIG: &str = "org.criu.config";

/// One copy's place.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    directory: PathBuf,
    /// For files and mounts of ours; the bundle itself where that is ours, too.
    own: PathBuf,
    rootfs: PathBuf,
    /// The container's name.
    pub(crate) id: String,
    /// The name of its cgroup.
    pub(crate) cgroup: String,
    /// A container engine has made it, with everything that does not depend on a checkpoint.
    pub(crate) given: bool,
}

impl Bundle {
    pub(super) fn new(work_dir: &Path, id: &str) -> Self {
        let directory = work_dir.join("containers").join(id);
        let (own, rootfs) = (directory.clone(), directory.join("rootfs"));
        Self { directory, own, rootfs, id: id.to_owned(), cgroup: id.to_owned(), given: false }
    }

    /// The bundle of an engine. Files and mounts of ours are `own`.
    pub(crate) fn given(directory: &Path, own: &Path, id: &str, spec: &Spec) -> Self {
        let root = spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path());
        let cgroup = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
        let cgroup = cgroup.map_or_else(|| id.to_owned(), |path| path.to_string_lossy().trim_matches('/').to_owned());
        let (rootfs, own) = (directory.join(root), own.to_owned());
        Self { directory: directory.to_owned(), own, rootfs, id: id.to_owned(), cgroup, given: true }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// For files of ours.
    pub(crate) fn own(&self) -> &Path {
        &self.own
    }

    pub(super) fn rootfs(&self) -> PathBuf {
        self.rootfs.clone()
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.own.join("mounts")
    }

    pub(crate) fn criu_config(&self) -> PathBuf {
        self.own.join("criu.conf")
    }

    /// What CRIU says of the restore.
    pub(super) fn restore_log(&self) -> PathBuf {
        self.own.join("restore").join("restore.log")
    }

    /// What is bind-mounted as the copy's identity where the source had a mount.
    pub(super) fn identity(&self) -> PathBuf {
        self.directory.join("identity")
    }

    /// Makes everything that does not depend on the checkpoint. Made already is fine.
    ///
    /// `copy` is who its application will be, `network` the file of the network namespace that it joins, if not that of its configuration.
    pub(super) fn prepare(&self, template: &Template, copy: &InstanceId, network: Option<&Path>) -> Result<()> {
        make_directory(&self.directory, 0o700)?;
        make_directory(&self.rootfs(), 0o755)?;
        self.base(&template.rootfs)?;
        write(&self.identity(), &format!("{copy}\n"))?;
        self.configure(template, copy, network)
    }

    fn base(&self, base: &BaseRootfs) -> Result<()> {
        match base {
            BaseRootfs::Layers(_) if mount::is_mounted(&self.rootfs())? => Ok(()),
            BaseRootfs::Layers(layers) => {
                let (upper, work) = (self.directory.join("upper"), self.directory.join("overlay"));
                make_directory(&upper, 0o755)?;
                make_directory(&work, 0o700)?;
                mount::overlay(layers, &upper, &work, &self.rootfs())
            }
            BaseRootfs::CopyOf(directory) => {
                let complete = self.directory.join("rootfs.complete");
                if complete.exists() {
                    return Ok(());
                }
                copy(directory, &self.rootfs())?;
                write(&complete, "")
            }
        }
    }

    fn configure(&self, template: &Template, copy: &InstanceId, network: Option<&Path>) -> Result<()> {
        let mut spec = template.spec.clone();
        let mut root = spec.root().clone().unwrap_or_default();
        root.set_path("rootfs".into());
        spec.set_root(Some(root));
        if spec.hostname().is_some() {
            spec.set_hostname(Some(copy.to_string()));
        }
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(CRIU_CONFIG.to_owned(), self.criu_config().display().to_string());
        spec.set_annotations(Some(annotations));
        let mut linux: Linux = spec.linux().clone().unwrap_or_default();
        linux.set_cgroups_path(Some(format!("/{}", self.id).into()));
        if let Some(network) = network {
            join(&mut linux, network)?;
        }
        spec.set_linux(Some(linux));
        for mount in spec.mounts_mut().iter_mut().flatten() {
            if mount.destination() == &template.identity_file {
                mount.set_source(Some(self.identity()));
            }
        }
        let json = serde_json::to_string_pretty(&spec).map_err(invalid)?;
        write(&self.directory.join("config.json"), &json)
    }

    /// Tells the application in the copy who it is, unless that is done by a mount.
    pub(super) fn identify(&self, template: &Template) -> Result<()> {
        // Who made the bundle has seen to that.
        if self.given {
            return Ok(());
        }
        let mounted = |mount: &Mount| template.identity_file.starts_with(mount.destination());
        if template.spec.mounts().iter().flatten().any(mounted) {
            return Ok(());
        }
        let inside = template.identity_file.strip_prefix("/").unwrap_or(&template.identity_file);
        let file = self.rootfs().join(inside);
        match file.parent() {
            // An application without such a file does not ask who it is.
            Some(directory) if directory.is_dir() => {}
            _ => return Ok(()),
        }
        // A new file: the old one may be a link out of the root file system.
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("the identity file", &file)(error)),
            _ => {}
        }
        std::fs::copy(self.identity(), &file).map(drop).map_err(io("the identity file", &file))
    }

    /// Removes it with its mounts. Missing is fine.
    pub(super) fn remove(&self) -> Result<()> {
        mount::detach_below(&self.directory)?;
        remove_directory(&self.directory)
    }
}

/// Puts a container into a network namespace that exists.
fn join(linux: &mut Linux, network: &Path) -> Result<()> {
    let kind = LinuxNamespaceType::Network;
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|namespace| namespace.typ() != kind);
    namespaces.push(LinuxNamespaceBuilder::default().typ(kind).path(network).build().map_err(invalid)?);
    linux.set_namespaces(Some(namespaces));
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::fatal(ErrorKind::Invalid, "the copy's configuration cannot be written").caused_by(error)
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io("the directory", path))
}

pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("the directory", path)(error)),
        _ => Ok(()),
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(io("the file", path))
}

pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::LimitExceeded } else { ErrorKind::Other };
        Error::undo(kind, format!("{what} of the copy cannot be made or removed")).with("path", path).caused_by(error)
    }
}

/// `cp` shares blocks where the file system can, keeps holes, links and attributes, and is on every machine with a runtime.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = std::process::Command::new("cp")
        .args(["--archive", "--reflink=auto", "--one-file-system"])
        .arg(from.join("."))
        .arg(to)
        .output()
        .map_err(|error| Error::fatal(ErrorKind::Unsupported, "`cp` cannot be started").caused_by(error))?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("the root file system could not be copied: {}", crate::runtime::last_words(&output.stderr));
    Err(Error::undo(ErrorKind::Other, message).with("from", from.display()))
}
