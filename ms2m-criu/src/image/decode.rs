//! From image files to the model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::cpu::CpuInfo;
use super::files::{FileKind, GhostFile, OpenFile, Tty};
use super::frame::{Entries, Magic};
use super::messages as wire;
use super::model::{Descriptor, DumpStats, Images, Inventory, Machine, Mount, Process, RestoreStats, TaskState, Thread, VmaSummary};
use super::pagemap::PagemapTotals;
use super::{ImageError, Result, limits, text};

/// Whether the image of this name is looked into. All others, those of memory pages above all, need not be held in memory.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    const WHOLE: [&str; 9] = [
        super::INVENTORY,
        "pstree.img",
        "files.img",
        "tty-info.img",
        "filelocks.img",
        "cpuinfo.img",
        "stats-dump",
        "stats-restore",
        "seccomp.img",
    ];
    const STARTS: [&str; 9] = ["core-", "ids-", "mm-", "pagemap-", "fdinfo-", "fs-", "utsns-", "mountpoints-", "ghost-file-"];
    (WHOLE.contains(&name) && name != "seccomp.img") || (name.ends_with(".img") && STARTS.iter().any(|start| name.starts_with(start)))
}

/// Reads the wanted images of a directory. Symbolic links and anything but files are left out.
///
/// # Errors
/// When the directory or a file cannot be read, or is beyond the limits.
pub fn read_directory(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let io = |error| ImageError::io(directory.display(), error);
    let mut found = BTreeMap::new();
    let mut total = 0;
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_wanted(&name) || !entry.file_type().map_err(io)?.is_file() {
            continue;
        }
        let image = read_file(directory, &name)?;
        total += image.len() as u64;
        if total > limits::TOTAL_BYTES {
            return Err(too_large(&name));
        }
        found.insert(name, image);
    }
    Ok(found)
}

/// One image, as far as it may be held in memory.
pub(super) fn read_file(directory: &Path, name: &str) -> Result<Vec<u8>> {
    let path = directory.join(name);
    let io = |error| ImageError::io(path.display(), error);
    let mut image = Vec::new();
    File::open(&path).map_err(io)?.take(limits::IMAGE_BYTES + 1).read_to_end(&mut image).map_err(io)?;
    if image.len() as u64 > limits::IMAGE_BYTES { Err(too_large(name)) } else { Ok(image) }
}

fn too_large(name: &str) -> ImageError {
    ImageError::too_large(name, "it does not fit into memory")
}

impl Images {
    /// Decodes the images by name. Those that are missing leave their part empty; [`Images::missing`] names the ones without which
    /// nothing can be restored.
    ///
    /// # Errors
    /// When one is malformed or beyond the limits.
    pub fn decode(images: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let mut found = Self::default();
        let part = |prefix: &'static str| images.range(prefix.to_owned()..).take_while(move |(name, _)| name.starts_with(prefix));
        let one = |name: &'static str, magic| images.get(name).map(|image| Entries::new(name, magic, image)).transpose();

        found.inventory =
            one(super::INVENTORY, Magic::Inventory)?.map(|entries| entries.only().map(|entry| inventory(&entry))).transpose()?;
        if let Some(entries) = one("files.img", Magic::Files)? {
            for entry in entries.decoded::<wire::FileEntry>() {
                let entry = entry?;
                found.files.insert(entry.id, OpenFile::of("files.img", entry)?);
            }
        }
        if let Some(entries) = one("tty-info.img", Magic::TtyInfo)? {
            found.ttys = entries.decoded().map(|entry| entry.map(tty)).collect::<Result<_>>()?;
        }
        if let Some(entries) = one("filelocks.img", Magic::FileLocks)? {
            for entry in entries {
                entry?;
                found.file_locks += 1;
            }
        }
        if let Some(entries) = one("cpuinfo.img", Magic::Cpuinfo)? {
            let info: wire::CpuinfoEntry = entries.only()?;
            found.cpu = info.x86.into_iter().next().map(CpuInfo::of);
        }
        for (name, magic) in ["stats-dump", "stats-restore"].map(|name| (name, Magic::Stats)) {
            if let Some(entries) = one(name, magic)? {
                let stats: wire::StatsEntry = entries.only()?;
                found.dump = found.dump.or(stats.dump.map(dump_stats));
                found.restore = found.restore.or(stats.restore.map(restore_stats));
            }
        }
        if let Some((name, image)) = part("utsns-").next() {
            let entry: wire::UtsnsEntry = Entries::new(name, Magic::Utsns, image)?.only()?;
            found.hostname = Some(text(&entry.nodename));
        }
        for (name, image) in part("mountpoints-") {
            for entry in Entries::new(name, Magic::Mountpoints, image)?.decoded() {
                found.mounts.push(mount(&entry?));
            }
        }
        for (name, image) in part("ghost-file-") {
            found.ghosts.push(ghost(name, image)?);
        }
        for (name, image) in part("pagemap-") {
            found.pages = found.pages.plus(PagemapTotals::decode(name, image)?);
        }
        let Some(tree) = one("pstree.img", Magic::Pstree)? else { return Ok(found) };
        for entry in tree.decoded::<wire::PstreeEntry>() {
            let entry = entry?;
            if found.processes.len() >= limits::PROCESSES {
                return Err(ImageError::too_large("pstree.img", format!("it has more than {} processes", limits::PROCESSES)));
            }
            let process = process(images, &entry, &found.files, &mut found.missing)?;
            found.processes.push(process);
        }
        Ok(found)
    }
}

/// The only entry of a process's image, if there is that image.
fn of_process<M: prost::Message + Default>(images: &BTreeMap<String, Vec<u8>>, name: &str, magic: Magic) -> Result<Option<M>> {
    images.get(name).map(|image| Entries::new(name, magic, image)?.only()).transpose()
}

fn process(
    images: &BTreeMap<String, Vec<u8>>,
    entry: &wire::PstreeEntry,
    files: &BTreeMap<u32, OpenFile>,
    missing: &mut Vec<String>,
) -> Result<Process> {
    let pid = entry.pid;
    let named = |kind: &str| format!("{kind}-{pid}.img");
    let mut core: wire::CoreEntry = match of_process(images, &named("core"), Magic::Core)? {
        Some(core) => core,
        None => {
            missing.push(named("core"));
            wire::CoreEntry::default()
        }
    };
    let task = core.task.take().unwrap_or_default();
    let state = TaskState::of(task.state);
    let mut xstate = components(&core);
    let ids = core.ids.take().or(of_process(images, &named("ids"), Magic::Ids)?);
    let mut threads = vec![];
    for tid in entry.threads.iter().take(limits::PROCESSES) {
        let name = format!("core-{tid}.img");
        let own = if *tid == pid { None } else { of_process::<wire::CoreEntry>(images, &name, Magic::Core)? };
        xstate |= own.as_ref().map_or(0, components);
        let comm = if *tid == pid { core.thread.as_ref() } else { own.as_ref().and_then(|own| own.thread.as_ref()) };
        threads.push(Thread { tid: *tid, comm: comm.and_then(|thread| thread.comm.as_deref()).map(text) });
    }
    let mm: Option<wire::MmEntry> = of_process(images, &named("mm"), Magic::Mm)?;
    let pages = match images.get(&named("pagemap")) {
        Some(image) => PagemapTotals::decode(&named("pagemap"), image)?,
        None => PagemapTotals::default(),
    };
    if state == TaskState::Alive {
        let absent = [(mm.is_none(), "mm"), (!images.contains_key(&named("pagemap")), "pagemap")];
        missing.extend(absent.into_iter().filter(|(absent, _)| *absent).map(|(_, kind)| named(kind)));
    }
    let path = |id: u32| match files.get(&id) {
        Some(OpenFile::Regular { path, .. }) => Some(path.clone()),
        _ => None,
    };
    let fs: Option<wire::FsEntry> = of_process(images, &named("fs"), Magic::Fs)?;
    Ok(Process {
        pid,
        ppid: entry.ppid,
        pgid: entry.pgid,
        sid: entry.sid,
        comm: text(&task.comm),
        exe: mm.as_ref().and_then(|mm| path(mm.exe_file_id)),
        state,
        machine: Machine::of(core.machine),
        xstate,
        threads,
        vmas: mm.as_ref().map(vmas).unwrap_or_default(),
        aio_rings: mm.as_ref().map_or(0, |mm| mm.aios.len() as u64),
        pages,
        descriptors: ids.map(|ids| descriptors(images, ids.files_id)).transpose()?.unwrap_or_default(),
        cwd: fs.as_ref().and_then(|fs| path(fs.cwd_id)),
        root: fs.as_ref().and_then(|fs| path(fs.root_id)),
    })
}

fn components(core: &wire::CoreEntry) -> u64 {
    let xsave = core.x86.as_ref().and_then(|x86| x86.fpregs.as_ref()).and_then(|fpregs| fpregs.xsave.as_ref());
    xsave.map_or(0, |xsave| xsave.xstate_bv)
}

fn descriptors(images: &BTreeMap<String, Vec<u8>>, files_id: u32) -> Result<Vec<Descriptor>> {
    let name = format!("fdinfo-{files_id}.img");
    let Some(image) = images.get(&name) else { return Ok(vec![]) };
    Entries::new(&name, Magic::Fdinfo, image)?
        .decoded::<wire::FdinfoEntry>()
        .map(|entry| entry.map(|entry| Descriptor { fd: entry.fd, kind: FileKind::of(entry.kind), file: entry.id }))
        .collect()
}

fn vmas(mm: &wire::MmEntry) -> Vec<VmaSummary> {
    const GROWS_DOWN: u32 = 0x100;
    /// CRIU's bits of a mapping's status, the most telling first.
    const KINDS: [(u32, &str); 13] = [
        (3, "vdso"),
        (12, "vdso"),
        (2, "vsyscall"),
        (5, "heap"),
        (1, "stack"),
        (14, "memfd"),
        (13, "aio"),
        (10, "sysv-shm"),
        (11, "socket"),
        (6, "file"),
        (7, "file-shared"),
        (8, "anonymous-shared"),
        (9, "anonymous"),
    ];
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for vma in &mm.vmas {
        // What the kernel grows downwards is a stack, by whatever name.
        let found = if vma.flags & GROWS_DOWN != 0 { Some("stack") } else { None };
        let kind = found.or_else(|| KINDS.iter().find(|(bit, _)| vma.status >> bit & 1 == 1).map(|(_, kind)| *kind)).unwrap_or("other");
        let sum = sums.entry(kind).or_default();
        sum.0 += 1;
        sum.1 = sum.1.saturating_add(vma.end.saturating_sub(vma.start));
    }
    sums.into_iter().map(|(kind, (count, bytes))| VmaSummary { kind: kind.into(), count, bytes }).collect()
}

fn inventory(entry: &wire::InventoryEntry) -> Inventory {
    let lsm = match entry.lsm {
        Some(1) => "selinux",
        Some(2) => "apparmor",
        _ => "none",
    };
    Inventory {
        version: entry.img_version,
        lsm: lsm.into(),
        tcp_close: entry.tcp_close.unwrap_or(false),
        network_lock: entry.network_lock,
        run_id: entry.run_id.as_deref().map(text),
    }
}

fn tty(entry: wire::TtyInfoEntry) -> Tty {
    let kind = match entry.kind {
        1 => "pty",
        2 => "console",
        3 => "virtual",
        4 => "current",
        5 => "external",
        6 => "serial",
        _ => "unknown",
    };
    Tty { id: entry.id, kind: kind.into(), index: entry.pty.map(|pty| pty.index) }
}

fn ghost(name: &str, image: &[u8]) -> Result<GhostFile> {
    let mut entries = Entries::new(name, Magic::GhostFile, image)?;
    let head = entries.next().ok_or_else(|| ImageError::malformed(name, "it has no entry"))??;
    let entry: wire::GhostEntry = super::frame::decode(name, head)?;
    // Content without a size of its own is all that follows the head.
    let behind = image.len().saturating_sub(8 + 4 + head.len()) as u64;
    Ok(GhostFile { image: name.into(), mode: entry.mode, size: entry.size.unwrap_or(behind) })
}

fn mount(entry: &wire::MntEntry) -> Mount {
    const FSTYPES: [&str; 24] = [
        "unsupported",
        "proc",
        "sysfs",
        "devtmpfs",
        "binfmt_misc",
        "tmpfs",
        "devpts",
        "simfs",
        "pstore",
        "securityfs",
        "fusectl",
        "debugfs",
        "cgroup",
        "aufs",
        "mqueue",
        "fuse",
        "auto",
        "overlay",
        "autofs",
        "tracefs",
        "",
        "",
        "",
        "cgroup2",
    ];
    let known = FSTYPES.get(entry.fstype as usize).copied().unwrap_or("unknown");
    let fstype = entry.fsname.as_deref().map_or_else(|| known.to_owned(), text);
    let key = entry.external_key.as_deref().filter(|key| !key.is_empty()).map(text);
    let external = key.or_else(|| entry.external.then(|| text(&entry.root)));
    Mount { mountpoint: text(&entry.mountpoint), fstype, source: text(&entry.source), root: text(&entry.root), external }
}

fn dump_stats(entry: wire::DumpEntry) -> DumpStats {
    DumpStats {
        freezing_us: entry.freezing_time,
        frozen_us: entry.frozen_time,
        memdump_us: entry.memdump_time,
        memwrite_us: entry.memwrite_time,
        pages_scanned: entry.pages_scanned,
        pages_skipped_parent: entry.pages_skipped_parent,
        pages_written: entry.pages_written,
        pages_lazy: entry.pages_lazy,
    }
}

fn restore_stats(entry: wire::RestoreEntry) -> RestoreStats {
    RestoreStats {
        forking_us: entry.forking_time,
        restore_us: entry.restore_time,
        pages_compared: entry.pages_compared,
        pages_skipped_cow: entry.pages_skipped_cow,
        pages_restored: entry.pages_restored.unwrap_or(0),
    }
}
