//! How large the checkpoint becomes, whether there is room, and how long the freeze takes.

use std::path::Path;

use super::layer;
use super::subject::Subject;
use crate::check::Check;
use crate::doctor::size::human;

/// Measured with runc 1.3.6 and CRIU 4.2.1 at 27 MB: everything of the freeze that is not memory.
const OVERHEAD_MS: u64 = 100;
/// How fast memory is written while frozen, on a page cache that has room.
const BYTES_PER_MS: u64 = 1 << 20;

pub(super) fn check(subject: &Subject, work_dir: &Path) -> Check {
    let free = work_dir.ancestors().find_map(|dir| rustix::fs::statvfs(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }).ok());
    judge(subject, work_dir, free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)))
}

fn judge(subject: &Subject, work_dir: &Path, free: Option<u64>) -> Check {
    const NAME: &str = "size";
    let status = || subject.processes.iter().map(|process| &process.status);
    let resident: u64 = status().filter_map(|status| status.vmrss).sum::<u64>() * 1024;
    // What lies in a file is not written, except where the process has changed it.
    let memory: u64 = status()
        .map(|status| status.rssanon.or(status.vmrss).unwrap_or(0) + status.rssshmem.unwrap_or(0) + status.vmswap.unwrap_or(0))
        .sum::<u64>()
        * 1024;
    let layer = layer::of(subject).filter(|_| subject.container.is_some()).map_or(0, |layer| layer.bytes);
    let need = memory + layer;
    let freeze = OVERHEAD_MS + memory / BYTES_PER_MS;
    let reason = format!(
        "{} resident, {} of it to be written, and {} of changed files; about {freeze} ms frozen without pre-dump",
        human(resident),
        human(memory),
        human(layer)
    );
    let dir = work_dir.display();
    match free {
        None => Check::unknown(NAME, format!("{reason}; how much is free in {dir} cannot be found out"))
            .remedy("name a directory with --work-dir"),
        Some(free) if free < need => Check::fail(NAME, format!("{reason}; {} free in {dir}", human(free)))
            .remedy("free some room there, or name another directory with --work-dir"),
        // The kubelet's way writes the memory two to four times.
        Some(free) if free < need.saturating_mul(4) => Check::warn(NAME, format!("{reason}; {} free in {dir}", human(free)))
            .remedy("enough for ms2m itself; a checkpoint by the kubelet takes 2 (CRI-O) to 4 (containerd) times as much"),
        Some(free) => Check::ok(NAME, format!("{reason}; {} free in {dir}", human(free))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Unknown, Warn};

    #[test]
    fn room_and_freeze_follow_from_the_memory() {
        let tree = Tree::new();
        tree.process(10, 1, "VmRSS:\t 300000 kB\nRssAnon:\t 204800 kB\nRssFile:\t 95200 kB\nRssShmem:\t 0 kB\n");
        let subject = tree.subject();
        let line = |free| judge(&subject, Path::new("/w"), free);
        assert!(
            line(None).result == Unknown
                && line(None).reason.contains("200 MiB of it to be written")
                && line(None).reason.contains("300 ms"),
            "{}",
            line(None)
        );
        assert_eq!([line(Some(100 << 20)), line(Some(300 << 20)), line(Some(1 << 30))].map(|line| line.result), [Fail, Warn, Ok]);
    }
}
