//! How a copy is started: in its own pid and mount namespace, whose first process is its keeper.
//!
//! ```text
//! unshare                    waits; its end ends the keeper
//! └── keeper (pid 1)         first a shell that mounts, then CRIU, then a shell that reaps and ends with the last process
//!     └── the copy           with the process ids of the source
//! ```
//!
//! The kernel kills everything in a pid namespace when its first process ends, and lets that one end only afterwards.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ms2m_core::Result;
use rustix::process::Signal;

use super::id::{ProcessId, Stat};
use super::tree::{Tree, TreeId};
use crate::store::JobDir;

/// Who keeps the copy, in the job's directory.
const KEEPER: &str = "keeper";

/// `/proc` is still the old one here, so the line tells the number that others see. Then pairs of a file and where it shall be, up to
/// `--`, and what to become. The session must be CRIU's own: nobody's signals shall reach the copy.
const START: &str = r#"set -eu
read -r stat < /proc/self/stat
printf '%s\n' "$stat" > "$1.unfinished"
mv "$1.unfinished" "$1"
shift
while [ "$1" != -- ]; do
    mount --bind -- "$1" "$2"
    shift 2
done
shift
mount -t proc proc /proc
exec setsid "$@""#;

/// As pid 1 it inherits and reaps every orphan. `kill -0 -1` fails once there is nobody else.
const KEEP: &str = "while kill -s 0 -- -1 2>/dev/null; do sleep 1 & wait $!; done";

/// What CRIU becomes after the restore.
pub(super) fn keep() -> Vec<String> {
    ["sh", "-c", KEEP].map(str::to_owned).to_vec()
}

/// The command that starts CRIU as the keeper, with these files in places of their own.
pub(super) fn command(job: &JobDir, files: &[(PathBuf, PathBuf)]) -> Vec<OsString> {
    // CRIU's session starts it in a process group of its own, which `setsid` would leave by a fork.
    let words = ["unshare", "--pid", "--mount", "--propagation", "private", "--fork", "--kill-child", "--", "sh", "-c", START];
    let mut command: Vec<OsString> = words.map(OsString::from).to_vec();
    command.extend(["ms2m-copy".into(), job.path().join(KEEPER).into_os_string()]);
    for (content, path) in files {
        command.extend([content.into(), path.into()]);
    }
    command.push("--".into());
    command
}

/// The keeper of this job's copy, if there is one that lives.
pub(super) fn keeper(job: &JobDir) -> Result<Option<ProcessId>> {
    let line = job.read(Path::new(KEEPER))?;
    let stat = line.and_then(|line| Stat::parse(&String::from_utf8_lossy(&line)));
    Ok(stat.map(|stat| stat.id).filter(ProcessId::lives))
}

/// Whether the keeper is still CRIU, or was never: the copy is not complete.
pub(super) fn is_restoring(keeper: ProcessId) -> bool {
    let command = std::fs::read(format!("/proc/{keeper}/cmdline")).unwrap_or_default();
    !String::from_utf8_lossy(&command).contains(KEEP)
}

/// Everybody whom it keeps.
pub(super) fn kept(keeper: ProcessId) -> Vec<ProcessId> {
    let tree = Tree::known(TreeId { root: keeper, leads_session: false });
    tree.members().into_iter().filter(|id| *id != keeper).collect()
}

/// Which number a process has in its own namespace.
pub(super) fn number_inside(id: ProcessId) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().next_back()?.parse().ok()
}

/// Ends the keeper and everything in its namespace, for certain.
pub(super) async fn end(job: &JobDir, limit: Duration) -> Result<()> {
    if let Some(keeper) = keeper(job)? {
        keeper.signal(Signal::KILL)?;
        keeper.ended(limit).await?;
    }
    job.forget(Path::new(KEEPER))
}
