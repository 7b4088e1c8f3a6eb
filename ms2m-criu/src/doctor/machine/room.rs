//! Room for checkpoints.

use std::path::Path;

use crate::check::Check;
use crate::doctor::size::human;

/// Below this not even a small process can be written.
const NONE: u64 = 64 << 20;
/// Below this an ordinary one may not fit.
const LITTLE: u64 = 1 << 30;

pub(super) fn check(dir: &Path) -> Check {
    // What does not exist yet will be made in the nearest directory that does.
    let Some(existing) = dir.ancestors().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }).find(|dir| dir.is_dir())
    else {
        return Check::fail("work-dir", format!("{} cannot be made", dir.display())).remedy("name another one with --work-dir");
    };
    match (rustix::fs::statvfs(existing), rustix::fs::statfs(existing)) {
        (Ok(room), Ok(kind)) => {
            const TMPFS: i128 = 0x0102_1994;
            let memory = i128::from(kind.f_type) == TMPFS;
            judge(dir, room.f_bavail.saturating_mul(room.f_frsize), memory)
        }
        (Err(error), _) | (_, Err(error)) => Check::unknown("work-dir", format!("{}: {error}", existing.display())),
    }
}

fn judge(dir: &Path, free: u64, memory: bool) -> Check {
    let dir = dir.display();
    let kind = if memory { " of memory (tmpfs: fast, but a checkpoint there counts twice)" } else { "" };
    let reason = format!("{} free{kind} in {dir}; a checkpoint takes the process's resident memory and its changed files", human(free));
    match free {
        ..NONE => Check::fail("work-dir", reason).remedy("free some room there, or name another directory with --work-dir"),
        NONE..LITTLE => Check::warn("work-dir", reason).remedy("compare with what `ms2m doctor --source` says of the process"),
        LITTLE.. => Check::ok("work-dir", reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;

    #[test]
    fn little_room_is_told() {
        let result = |free| judge(Path::new("/work"), free, false).result;
        assert_eq!([result(1 << 20), result(512 << 20), result(8 << 30)], [CheckResult::Fail, CheckResult::Warn, CheckResult::Ok]);
        assert!(judge(Path::new("/run"), 8 << 30, true).reason.contains("tmpfs"));
    }

    #[test]
    fn a_directory_that_does_not_exist_yet_is_judged_by_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(check(&dir.path().join("a/b")).result, CheckResult::Unknown);
    }
}
