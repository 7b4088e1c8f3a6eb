//! The processes that belong together: a process and all its descendants.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use procfs::FromRead as _;
use procfs::process::{MMapPath, MemoryMaps, Status};

use super::descriptor::Descriptor;
use crate::doctor::host::Host;

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) status: Status,
    /// Threads in an uninterruptible state, and the tracers of threads.
    pub(super) uninterruptible: Vec<i32>,
    pub(super) tracer: Option<i32>,
    /// Namespaces by name, as the links in `ns` show them.
    pub(super) namespaces: BTreeMap<String, String>,
    pub(super) descriptors: Vec<Descriptor>,
    /// Files that are mapped but have lost their names, with their mapped size.
    pub(super) deleted_maps: Vec<(String, u64)>,
    /// Devices and nameless objects of the kernel that are mapped.
    pub(super) special_maps: Vec<String>,
    /// The session's terminal, 0 without one.
    pub(super) terminal: i32,
    pub(super) cgroups: Vec<String>,
}

impl Process {
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.pid, self.status.name)
    }

    /// Reads one process. `None` when it has ended meanwhile.
    pub(super) fn read(host: &Host, pid: i32) -> Option<Self> {
        let dir = dir(host, pid);
        let status = Status::from_file(dir.join("status")).ok()?;
        let (uninterruptible, tracer) = threads(&dir, &status);
        let mut descriptors: Vec<_> = numbers(&dir.join("fd")).into_iter().filter_map(|fd| Descriptor::read(&dir, pid, fd)).collect();
        descriptors.sort_by_key(|one| one.number);
        let (deleted_maps, special_maps) = maps(&dir);
        let terminal = procfs::process::Stat::from_file(dir.join("stat")).map_or(0, |stat| stat.tty_nr);
        let cgroups = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
        let cgroups = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect();
        Some(Self {
            pid,
            status,
            uninterruptible,
            tracer,
            namespaces: namespaces(&dir),
            descriptors,
            deleted_maps,
            special_maps,
            terminal,
            cgroups,
        })
    }
}

/// Where the process is.
pub(super) fn dir(host: &Host, pid: i32) -> PathBuf {
    host.path(format!("/proc/{pid}"))
}

/// `root` and all its descendants, in no particular order, `root` first.
pub(super) fn descendants(host: &Host, root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = numbers(&host.path("/proc"))
        .into_iter()
        .filter_map(|pid| Some((pid, Status::from_file(dir(host, pid).join("status")).ok()?.ppid)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(parents.iter().filter(|(pid, of)| *of == parent && *pid != root).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

fn numbers(dir: &Path) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn threads(dir: &Path, leader: &Status) -> (Vec<i32>, Option<i32>) {
    let threads: Vec<_> =
        numbers(&dir.join("task")).into_iter().filter_map(|id| Status::from_file(dir.join(format!("task/{id}/status"))).ok()).collect();
    let all = || threads.iter().chain([leader]);
    let mut waiting: Vec<_> = all().filter(|status| status.state.starts_with('D')).map(|status| status.pid).collect();
    waiting.dedup();
    (waiting, all().map(|status| status.tracerpid).find(|tracer| *tracer != 0))
}

pub(super) fn namespaces(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir.join("ns")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())))
        .collect()
}

fn maps(dir: &Path) -> (Vec<(String, u64)>, Vec<String>) {
    let (mut deleted, mut special): (Vec<(String, u64)>, Vec<String>) = Default::default();
    let Ok(maps) = MemoryMaps::from_file(dir.join("maps")) else { return (deleted, special) };
    for map in &maps.0 {
        let MMapPath::Path(path) = &map.pathname else { continue };
        let path = path.to_string_lossy();
        // Shared anonymous memory and memfds have no file behind them.
        let anonymous =
            ["/dev/zero (deleted)", "/memfd:", "/SYSV", "/[aio]", "/anon_hugepage"].iter().any(|prefix| path.starts_with(prefix));
        let device = path.starts_with("/dev/") && !anonymous && !path.starts_with("/dev/shm/");
        if device || path.starts_with("anon_inode:") {
            special.push(path.into_owned());
        } else if let Some(name) = path.strip_suffix(" (deleted)").filter(|_| !anonymous) {
            let size = map.address.1.saturating_sub(map.address.0);
            match deleted.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += size,
                None => deleted.push((name.to_owned(), size)),
            }
        }
    }
    special.dedup();
    (deleted, special)
}

/// Processes in the pid namespace of `tree` that do not belong to it.
pub(super) fn strangers(host: &Host, tree: &[Process]) -> Vec<i32> {
    let Some(own) = tree.first().and_then(|first| first.namespaces.get("pid")) else { return Vec::new() };
    let known = |pid: &i32| tree.iter().any(|process| process.pid == *pid);
    let there = |pid: &i32| fs::read_link(dir(host, *pid).join("ns/pid")).is_ok_and(|link| link.to_string_lossy() == own.as_str());
    let mut found: Vec<_> = numbers(&host.path("/proc")).into_iter().filter(|pid| !known(pid)).filter(there).collect();
    found.sort_unstable();
    found
}
