//! Several containers stand still together: by their freezer cgroups, before any of them is dumped.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};

const LOOK: Duration = Duration::from_micros(200);
/// How long it may take until all stand still.
const FREEZE: Duration = Duration::from_secs(2);

/// The freezer of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Freezer {
    /// The container's cgroup, which CRIU wants to know as well.
    pub(super) cgroup: PathBuf,
    unified: bool,
}

impl Freezer {
    /// The freezer of a process.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let cannot = |error: procfs::ProcError| {
            Error::undo(ErrorKind::Other, "the container's cgroup cannot be found").with("pid", pid).caused_by(error)
        };
        let groups = procfs::process::Process::new(pid).and_then(|process| process.cgroups()).map_err(cannot)?.0;
        let below = |mount: &str, path: &str| Path::new(mount).join(path.trim_start_matches('/'));
        for group in &groups {
            if group.controllers.iter().any(|name| name == "freezer") && group.pathname != "/" {
                return Ok(Self { cgroup: below("/sys/fs/cgroup/freezer", &group.pathname), unified: false });
            }
        }
        for group in groups.iter().filter(|group| group.hierarchy == 0 && group.pathname != "/") {
            for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
                let cgroup = below(mount, &group.pathname);
                if cgroup.join("cgroup.freeze").exists() {
                    return Ok(Self { cgroup, unified: true });
                }
            }
        }
        let message = "the container has no freezer cgroup of its own; several containers cannot be frozen together without";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("pid", pid))
    }

    fn file(&self) -> PathBuf {
        self.cgroup.join(if self.unified { "cgroup.freeze" } else { "freezer.state" })
    }

    fn order(&self, frozen: bool) -> Result<()> {
        let word = match (self.unified, frozen) {
            (true, true) => "1",
            (true, false) => "0",
            (false, true) => "FROZEN",
            (false, false) => "THAWED",
        };
        std::fs::write(self.file(), word).map_err(|error| {
            Error::undo(ErrorKind::Other, "the container's freezer cannot be used").with("file", self.file().display()).caused_by(error)
        })
    }

    /// Freezes containers until somebody thaws them, whatever becomes of this process.
    pub(crate) async fn freeze_all(freezers: &[Self]) -> Result<()> {
        freezers.iter().try_for_each(|freezer| freezer.order(true))?;
        let frozen = async {
            while !freezers.iter().all(Self::is_frozen) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let message = "the containers could not be frozen; a process of them hangs in the kernel";
        tokio::time::timeout(FREEZE, frozen).await.map_err(|_| Error::undo(ErrorKind::Timeout, message))
    }

    /// Lets the container go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.order(false)
    }

    /// Whether it stands still.
    pub(super) fn is_frozen(&self) -> bool {
        let (file, word) = if self.unified { ("cgroup.events", "frozen 1") } else { ("freezer.state", "FROZEN") };
        std::fs::read_to_string(self.cgroup.join(file)).is_ok_and(|text| text.lines().any(|line| line == word))
    }

    /// Who is in it, and below.
    pub(super) fn processes(&self) -> Vec<i32> {
        let (mut found, mut directories) = (Vec::new(), vec![self.cgroup.clone()]);
        while let Some(directory) = directories.pop() {
            let procs = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            let below = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            directories.extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
        }
        found
    }

    fn thaw_word(&self) -> &'static str {
        if self.unified { "0" } else { "THAWED" }
    }
}

/// Containers that stand still until this is dropped, or until this process dies.
#[derive(Debug)]
pub(super) struct Frozen {
    freezers: Vec<Freezer>,
    guards: Vec<(Child, Option<ChildStdin>)>,
    since: Instant,
}

impl Frozen {
    /// Freezes them all.
    pub(super) async fn freeze(freezers: &[Freezer]) -> Result<Self> {
        let guards = freezers.iter().map(guard).collect::<Result<_>>()?;
        let frozen = Self { freezers: freezers.to_vec(), guards, since: Instant::now() };
        Freezer::freeze_all(freezers).await?;
        Ok(frozen)
    }

    /// Lets them go on; says how long they stood still.
    pub(super) fn thaw(mut self) -> Result<Duration> {
        self.freezers.iter().try_for_each(|freezer| freezer.order(false))?;
        let stood = self.since.elapsed();
        self.freezers.clear();
        Ok(stood)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for freezer in &self.freezers {
            if let Err(error) = freezer.order(false) {
                tracing::error!(%error, "a container may still be frozen");
            }
        }
        for (mut guard, stdin) in self.guards.drain(..) {
            drop(stdin);
            // It ends by itself as its input has ended.
            let _ = guard.wait();
        }
    }
}

/// A process that thaws when this one dies, however it dies: its input ends then.
fn guard(freezer: &Freezer) -> Result<(Child, Option<ChildStdin>)> {
    let cannot = |error| Error::undo(ErrorKind::Other, "the guard of a frozen container cannot be started").caused_by(error);
    let mut child = Command::new("/bin/sh")
        .args(["-c", "cat > /dev/null; echo \"$1\" > \"$0\""])
        .arg(freezer.file())
        .arg(freezer.thaw_word())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let stdin = child.stdin.take();
    Ok((child, stdin))
}
