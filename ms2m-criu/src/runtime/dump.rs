//! The dump of one container.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ms2m_core::{Error, ErrorKind, Result};

use super::mounts::{bound_from, is_of_the_pod};
use super::source::failed;
use super::{Container, External, ExternalKind, descriptors};
use crate::archive::{ContainerManifest, MountFact};
use crate::criu::{Criu, DumpOptions, DumpStats, ManageCgroups};
use crate::image::{INVENTORY, difference};
use crate::local::blocking;
use crate::tree::{TreeLimits, Which, pack};

/// The network namespace that a container has joined, as runc and crun name it for CRIU.
const JOINED_NETWORK: &str = "extRootNetNS";

/// How much memory a dump has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Figures {
    pub(super) written_bytes: u64,
    pub(super) in_parents_bytes: u64,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.written_bytes += other.written_bytes;
        self.in_parents_bytes += other.in_parents_bytes;
    }

    fn of_pages(written: u64, in_parents: u64) -> Self {
        let page = rustix::param::page_size() as u64;
        Self { written_bytes: written * page, in_parents_bytes: in_parents * page }
    }
}

/// Takes the pages out of a whole dump that the round has, too, and makes that its parent. Says what the dump holds then.
pub(super) async fn leave_out(images: PathBuf, round: PathBuf) -> Result<Figures> {
    blocking(move || {
        let left = difference::leave_out(&images, &round)?;
        let link = images.join("parent");
        std::os::unix::fs::symlink(relative(&images, &round), &link).map_err(failed("linked", &link))?;
        Ok(Figures::of_pages(left.written, left.in_parent))
    })
    .await
}

/// The containers, the freeze, the figures.
pub(super) type Dumped = (Vec<ContainerManifest>, Duration, Figures);

/// What of a container is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Memory, while it runs and the kernel tracks what it writes.
    Changes,
    /// All memory, as it was in one moment: where the kernel tracks nothing.
    Memory,
    Everything,
}

/// What is to be dumped, and where to.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) criu: &'a Criu,
    pub(super) container: &'a Container,
    pub(super) name: &'a str,
    /// `containers/NAME`.
    pub(super) directory: &'a Path,
    pub(super) images: &'a str,
    /// The images to build on.
    pub(super) parent: Option<PathBuf>,
    /// Whether its network is that of another container of the checkpoint, too.
    pub(super) shares_network: bool,
    /// What is the pod's and travels with another container of the checkpoint already, by where it is on this machine.
    pub(super) carried: &'a HashSet<PathBuf>,
    /// Set when the container is frozen already.
    pub(super) freezer: Option<PathBuf>,
    pub(super) what: What,
    pub(super) track: bool,
    pub(super) leave_running: bool,
    /// For a container engine that restores from an image.
    pub(super) for_image: bool,
    pub(super) deadline: Duration,
}

pub(super) async fn dump(wish: Wish<'_>) -> Result<(ContainerManifest, Duration, Figures)> {
    let mut externals = wish.container.externals()?;
    if wish.for_image {
        externals.retain(|external| external.dump_option_of_runc().is_some());
    }
    let options = options(&wish, &externals)?;
    // With a round, too: the target's runtime starts with these, before the final part has come.
    descriptors::write(&options.images_dir, &wish.container.descriptors()?)?;
    let stats = match wish.what {
        What::Changes => wish.criu.pre_dump(&options).await?,
        What::Memory => {
            let stats = wish.criu.dump(&options, || async { Ok(()) }).await?;
            keep_memory(&options.images_dir)?;
            stats
        }
        What::Everything => everything(&wish, &options, &externals).await?,
    };
    let figures = Figures::of_pages(stats.pages_written, stats.pages_skipped_parent);
    let mounts = externals.iter().map(|external| fact(external, wish.directory)).collect();
    let manifest = ContainerManifest {
        name: wish.name.to_owned(),
        id: wish.container.id().to_owned(),
        frozen_us: stats.freeze().as_micros().try_into().ok(),
        mounts,
        ..ContainerManifest::default()
    };
    // CRIU's words are for errors; they hold paths of this machine and do not travel.
    for log in ["dump.log", "stats-dump"] {
        let _ = std::fs::remove_file(options.images_dir.join(log));
    }
    Ok((manifest, stats.freeze(), figures))
}

async fn everything(wish: &Wish<'_>, options: &DumpOptions, externals: &[External]) -> Result<DumpStats> {
    let files = Files::of(wish, externals)?;
    Ok(wish.criu.dump(options, || blocking(move || files.copy())).await?)
}

/// A later dump builds on memory; everything else it has itself.
fn keep_memory(images: &Path) -> Result<()> {
    let kept =
        |name: &str| name == INVENTORY || name == descriptors::FILE || ["pagemap-", "pages-"].iter().any(|kind| name.starts_with(kind));
    for entry in std::fs::read_dir(images).map_err(failed("read", images))? {
        let path = entry.map_err(failed("read", images))?.path();
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(kept) {
            std::fs::remove_file(&path).map_err(failed("removed", &path))?;
        }
    }
    Ok(())
}

fn options(wish: &Wish<'_>, externals: &[External]) -> Result<DumpOptions> {
    let container = wish.container;
    let images = wish.directory.join(wish.images);
    let pid = container.process().pid().unsigned_abs();
    let named = |external: &External| external.dump_option_of_runc().filter(|_| wish.for_image).unwrap_or_else(|| external.dump_option());
    let mut external: Vec<String> = externals.iter().map(named).collect();
    if wish.shares_network || container.joined(oci_spec::runtime::LinuxNamespaceType::Network).is_some() {
        external.push(format!("net[{}]:{JOINED_NETWORK}", container.network()?));
    }
    Ok(DumpOptions {
        root: Some(container.rootfs().to_owned()),
        leave_running: wish.leave_running,
        tcp_established: true,
        tcp_skip_in_flight: true,
        ext_unix_sk: true,
        file_locks: true,
        link_remap: true,
        external,
        // As runc has it written down, which looks for it.
        manage_cgroups: if wish.for_image { ManageCgroups::Soft } else { ManageCgroups::Ignore },
        freeze_cgroup: wish.freezer.clone(),
        parent_images: wish.parent.as_ref().filter(|_| wish.track).map(|parent| relative(&images, parent)),
        track_mem: wish.parent.is_some() && wish.track,
        // The round before has been sent. In the final dump it would lengthen the freeze.
        auto_dedup: wish.what == What::Changes && wish.parent.is_some(),
        deadline: wish.deadline,
        ..DumpOptions::new(pid, images)
    })
}

/// From one directory below a common one to another.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(common).map(|_| std::path::Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

/// The files that must fit to the memory, copied while the container stands still.
struct Files {
    layer: Option<(PathBuf, Which, PathBuf)>,
    volumes: Vec<(PathBuf, PathBuf)>,
}

impl Files {
    fn of(wish: &Wish<'_>, externals: &[External]) -> Result<Self> {
        let container = wish.container;
        let read_only = container.spec().root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false));
        let to = wish.directory.join("rootfs-diff.tar");
        let layer = match container.layers()? {
            _ if read_only => None,
            Some(layers) => layers.upper.map(|upper| (upper, Which::Upper, to)),
            None => Some((container.rootfs().to_owned(), Which::ChangedSince(started(container)?), to)),
        };
        let root = container.proc_root();
        let mut seen = HashSet::new();
        let mut is_carried = |External { destination, kind }: &External| match kind {
            ExternalKind::Tmpfs { .. } => true,
            // What is mounted twice is one nevertheless.
            ExternalKind::Bind if !wish.for_image => bound_from(container.spec(), destination)
                .is_some_and(|source| is_of_the_pod(destination, source) && !wish.carried.contains(source) && seen.insert(source)),
            _ => false,
        };
        let volumes: Vec<_> = externals
            .iter()
            .filter(|external| is_carried(external))
            .map(|external| {
                let inside = external.destination.strip_prefix("/").unwrap_or(&external.destination);
                (root.join(inside), volume(wish.directory, external))
            })
            .collect();
        if !volumes.is_empty() {
            let directory = wish.directory.join("volumes");
            std::fs::create_dir_all(&directory).map_err(failed("made", &directory))?;
        }
        Ok(Self { layer, volumes })
    }

    fn copy(self) -> Result<()> {
        let volumes = self.volumes.into_iter().map(|(from, to)| (from, Which::All, to));
        for (from, which, to) in self.layer.into_iter().chain(volumes) {
            let file = File::create_new(&to).map_err(failed("made", &to))?;
            pack(&from, which, TreeLimits::default(), file)?;
        }
        Ok(())
    }
}

/// What of the container is its pod's, and travels with it, by where it is on this machine.
pub(super) fn of_the_pod(container: &Container) -> impl Iterator<Item = PathBuf> {
    let mounts = container.spec().mounts().iter().flatten();
    mounts.filter_map(|mount| mount.source().clone().filter(|source| is_of_the_pod(mount.destination(), source)))
}

fn volume(directory: &Path, external: &External) -> PathBuf {
    directory.join("volumes").join(format!("{}.tar", external.volume()))
}

fn fact(external: &External, directory: &Path) -> MountFact {
    let volume = volume(directory, external);
    let name = volume.file_name().filter(|_| volume.exists()).map(|name| name.to_string_lossy().into_owned());
    MountFact { volume: name, ..external.fact() }
}

/// When the container's first process began, a little early: what has changed since is the container's doing.
fn started(container: &Container) -> Result<SystemTime> {
    let cannot = |error: procfs::ProcError| Error::undo(ErrorKind::Other, "the container's age is not known").caused_by(error);
    let begun = procfs::process::Process::new(container.process().pid()).and_then(|process| process.stat()).map_err(cannot)?.starttime;
    let booted = procfs::boot_time_secs().map_err(cannot)?;
    let since_boot = Duration::from_secs(begun / procfs::ticks_per_second());
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(booted) + since_boot.saturating_sub(Duration::from_secs(2)))
}
