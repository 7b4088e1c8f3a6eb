//! Which mounts of a container come from outside.
//!
//! CRIU makes what it can by itself (proc, sysfs, devpts, mqueue, read-only remounts of them). Everything else is *external*: the
//! dump only notes its name, and whoever restores provides something under that name. tmpfs mounts are external as well, although
//! CRIU could archive them: it starts tar and gzip for each while the container is frozen, 4 to 12 ms a mount.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use procfs::process::MountInfo;
use serde::{Deserialize, Serialize};

use super::Container;
use crate::archive::MountFact;

/// What an external mount is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExternalKind {
    /// A file or directory that the bundle mounts there; the copy's bundle says from where.
    Bind,
    /// A file that the runtime hides behind `/dev/null`.
    MaskedFile,
    /// A directory that the runtime hides behind an empty one.
    MaskedDirectory,
    /// A tmpfs. Its content travels with the checkpoint.
    Tmpfs {
        /// Options of the file system: size, mode, inodes.
        options: String,
    },
    /// A cgroup hierarchy.
    Cgroup {
        /// Controllers of a version 1 hierarchy as the mount lists them; `None` for version 2.
        controllers: Option<Vec<String>>,
    },
}

/// A mount that comes from outside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct External {
    /// Where it is in the container; also the name under which CRIU knows it.
    pub destination: PathBuf,
    /// What it is.
    #[serde(flatten)]
    pub kind: ExternalKind,
}

impl External {
    /// How it is noted in a checkpoint's manifest.
    #[must_use]
    pub fn fact(&self) -> MountFact {
        let kind = match &self.kind {
            ExternalKind::Bind => "bind".to_owned(),
            ExternalKind::MaskedFile => "masked-file".to_owned(),
            ExternalKind::MaskedDirectory => "masked-directory".to_owned(),
            ExternalKind::Tmpfs { .. } => "tmpfs".to_owned(),
            ExternalKind::Cgroup { controllers: None } => "cgroup2".to_owned(),
            ExternalKind::Cgroup { controllers: Some(names) } => format!("cgroup:{}", names.join(",")),
        };
        MountFact { destination: self.destination.display().to_string(), kind, read_only: false, volume: None }
    }

    /// What a manifest notes, if it is an external mount.
    #[must_use]
    pub fn from_fact(fact: &MountFact) -> Option<Self> {
        let kind = match fact.kind.as_str() {
            "bind" => ExternalKind::Bind,
            "masked-file" => ExternalKind::MaskedFile,
            "masked-directory" => ExternalKind::MaskedDirectory,
            "tmpfs" => ExternalKind::Tmpfs { options: String::new() },
            "cgroup2" => ExternalKind::Cgroup { controllers: None },
            other => {
                let names = other.strip_prefix("cgroup:")?.split(',').map(str::to_owned).collect();
                ExternalKind::Cgroup { controllers: Some(names) }
            }
        };
        Some(Self { destination: PathBuf::from(&fact.destination), kind })
    }

    /// The name under which its content travels: the destination without slashes.
    #[must_use]
    pub fn volume(&self) -> String {
        let destination = self.destination.display().to_string();
        // `-` becomes `--`, so that two destinations never share a name.
        destination.trim_matches('/').replace('-', "--").replace('/', "-")
    }

    /// CRIU's option `external` for a dump.
    #[must_use]
    pub fn dump_option(&self) -> String {
        let destination = self.destination.display();
        format!("mnt[{destination}]:{destination}")
    }

    /// The same as runc has it, which provides it by that name when it restores by itself. Nothing for what CRIU dumps then: tmpfs mounts, of which
    /// the hidden directories are some, and the hierarchy of cgroup version 2.
    #[must_use]
    pub fn dump_option_of_runc(&self) -> Option<String> {
        let destination = self.destination.display();
        match self.kind {
            ExternalKind::Bind | ExternalKind::Cgroup { controllers: Some(_) } => Some(self.dump_option()),
            ExternalKind::MaskedFile => Some(format!("mnt[{destination}]:/dev/null")),
            ExternalKind::MaskedDirectory | ExternalKind::Tmpfs { .. } | ExternalKind::Cgroup { controllers: None } => None,
        }
    }

    /// CRIU's option `external` for a restore from `source`.
    #[must_use]
    pub fn restore_option(&self, source: &Path) -> String {
        format!("mnt[{}]:{}", self.destination.display(), source.display())
    }
}

pub(super) fn externals(container: &Container) -> Result<Vec<External>> {
    let cannot = |error: procfs::ProcError| {
        let message = "the container's mounts cannot be read; it may have ended";
        Error::undo(ErrorKind::Other, message).with("container", container.id()).caused_by(error)
    };
    let process = procfs::process::Process::new(container.process().pid()).map_err(cannot)?;
    let mounts = process.mountinfo().map_err(cannot)?;
    let root = container.proc_root();
    Ok(mounts
        .into_iter()
        .filter_map(|mount| {
            let kind = kind(&mount, container, &root)?;
            Some(External { destination: mount.mount_point, kind })
        })
        .collect())
}

fn kind(mount: &MountInfo, container: &Container, proc_root: &Path) -> Option<ExternalKind> {
    let spec = container.spec();
    let at = &mount.mount_point;
    if at == Path::new("/") {
        return None;
    }
    if spec.mounts().iter().flatten().any(|wanted| wanted.destination() == at && is_bind(wanted)) {
        return Some(ExternalKind::Bind);
    }
    let masked = spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_ref());
    if masked.is_some_and(|paths| paths.iter().any(|path| Path::new(path) == at)) {
        let inside = at.strip_prefix("/").unwrap_or(at);
        let directory = proc_root.join(inside).is_dir();
        return Some(if directory { ExternalKind::MaskedDirectory } else { ExternalKind::MaskedFile });
    }
    match mount.fs_type.as_str() {
        "tmpfs" if mount.root == "/" => Some(ExternalKind::Tmpfs { options: tmpfs_options(mount) }),
        "cgroup2" => Some(ExternalKind::Cgroup { controllers: None }),
        "cgroup" => {
            // A hierarchy without controllers has a name instead.
            let named = |(key, value): (&String, &Option<String>)| match value {
                Some(value) if key == "name" => format!("name={value}"),
                _ => key.clone(),
            };
            let options = mount.super_options.iter().map(named).filter(|option| option != "rw");
            Some(ExternalKind::Cgroup { controllers: Some(options.collect()) })
        }
        _ => None,
    }
}

fn is_bind(mount: &oci_spec::runtime::Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind")
}

/// Whether this is where kubelet keeps an emptyDir.
pub(crate) fn is_empty_dir(source: &Path) -> bool {
    source.components().any(|part| part.as_os_str() == "kubernetes.io~empty-dir")
}

/// Whether what is bound there are files of the pod alone, on a disk or in memory, which a pod elsewhere has to be given: its emptyDirs and its shared memory.
pub(crate) fn is_of_the_pod(destination: &Path, source: &Path) -> bool {
    destination == Path::new("/dev/shm") || is_empty_dir(source)
}

/// Where what is bound to this place of a container comes from.
pub(crate) fn bound_from<'a>(spec: &'a oci_spec::runtime::Spec, destination: &Path) -> Option<&'a Path> {
    spec.mounts().iter().flatten().find(|mount| mount.destination() == destination)?.source().as_deref()
}

/// Those options that a new tmpfs takes.
fn tmpfs_options(mount: &MountInfo) -> String {
    let takes = ["size", "nr_inodes", "nr_blocks", "mode", "uid", "gid"];
    let mut options: Vec<String> = mount
        .super_options
        .iter()
        .filter(|(name, _)| takes.contains(&name.as_str()))
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
        .collect();
    options.sort();
    options.join(",")
}

/// The overlay that a container's root file system is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers {
    /// The image, topmost layer first.
    pub lower: Vec<PathBuf>,
    /// What the container has written.
    pub upper: Option<PathBuf>,
}

pub(super) fn layers(container: &Container) -> Result<Option<Layers>> {
    let cannot = |error: procfs::ProcError| {
        Error::undo(ErrorKind::Other, "the container's mounts cannot be read").with("container", container.id()).caused_by(error)
    };
    let mounts = procfs::process::Process::new(container.process().pid()).and_then(|process| process.mountinfo()).map_err(cannot)?;
    let root = mounts.into_iter().find(|mount| mount.mount_point == Path::new("/"));
    let Some(root) = root.filter(|root| root.fs_type == "overlay" && root.root == "/") else { return Ok(None) };
    let option = |name: &str| root.super_options.get(name).cloned().flatten();
    // The kernel escapes a colon within a name by a backslash; such names are not split here but refused as missing later.
    let lower = option("lowerdir").unwrap_or_default().split(':').map(PathBuf::from).collect();
    Ok(Some(Layers { lower, upper: option("upperdir").map(PathBuf::from) }))
}
