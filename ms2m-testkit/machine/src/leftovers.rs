//! What a test has left over.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long something may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where programs keep files. Everything else of a machine's root is Debian's.
const FOLDERS: [&str; 9] = ["run", "tmp", "var", "var/tmp", "etc", "root", "mnt", "opt", "dev/shm"];

/// Files that programs keep for their next run and that say nothing.
const KEPT: [&str; 6] = ["/run/criu.kdat", "/run/runc", "/run/crun", "/run/crun/.empty-directory", "/run/xtables.lock", "/run/mount"];

/// `PF_KTHREAD`. A virtual machine has some, which come and go.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// What is there now and was not before, in words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leftovers {
    /// `PID state command line`.
    pub processes: Vec<String>,
    /// Mount points.
    pub mounts: Vec<String>,
    /// Directories below `/sys/fs/cgroup`.
    pub cgroups: Vec<String>,
    /// Files, sockets and folders in `/run`, `/tmp`, `/var`, `/etc` and the like.
    pub files: Vec<String>,
}

impl Leftovers {
    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.mounts.is_empty() && self.cgroups.is_empty() && self.files.is_empty()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing left over");
        }
        f.write_str("left over:")?;
        let kinds = [("process", &self.processes), ("mount", &self.mounts), ("cgroup", &self.cgroups), ("file", &self.files)];
        kinds.iter().try_for_each(|(kind, list)| list.iter().try_for_each(|what| write!(f, "\n  {kind} {what}")))
    }
}

/// What is there at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    root: PathBuf,
    processes: BTreeSet<(u32, u64)>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Snapshot {
    /// Of the machine that this process is in.
    #[must_use]
    pub fn take() -> Self {
        Self::of_root(Path::new("/"))
    }

    /// Of the machine with this root, seen from outside.
    pub(crate) fn of_root(root: &Path) -> Self {
        let mounts = fs::read_to_string(root.join("proc/1/mountinfo")).unwrap_or_default();
        let mounts: BTreeSet<_> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect();
        let (mut files, mut cgroups) = (BTreeSet::new(), BTreeSet::new());
        for folder in FOLDERS {
            // What is mounted there is told as a mount, or it is the host's.
            walk(&root.join(folder), &mut |path, _| {
                let path = inside(root, path);
                let mounted = mounts.contains(&path);
                files.insert(path);
                !mounted
            });
        }
        walk(&root.join("sys/fs/cgroup"), &mut |path, directory| {
            if directory {
                cgroups.insert(inside(root, path));
            }
            true
        });
        let processes = processes(root).into_iter().map(|process| (process.pid, process.started)).collect();
        Self { root: root.to_owned(), processes, mounts, cgroups, files }
    }

    /// What has come since. Waits up to 2 s for what is just ending.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let begun = Instant::now();
        loop {
            let left = self.compare();
            if left.is_empty() || begun.elapsed() > PATIENCE {
                return left;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// What has come since, at this moment.
    #[must_use]
    pub fn compare(&self) -> Leftovers {
        let now = Self::of_root(&self.root);
        let new = |now: &BTreeSet<String>, before: &BTreeSet<String>| now.difference(before).cloned().collect();
        let processes = processes(&self.root).into_iter().filter(|process| !self.processes.contains(&(process.pid, process.started)));
        let mut files: Vec<String> = new(&now.files, &self.files);
        files.retain(|file| !KEPT.contains(&file.as_str()));
        Leftovers {
            processes: processes.map(|process| process.shown).collect(),
            mounts: new(&now.mounts, &self.mounts),
            cgroups: new(&now.cgroups, &self.cgroups),
            files,
        }
    }
}

struct Process {
    pid: u32,
    started: u64,
    shown: String,
}

/// A process that ends while we read is not there.
fn processes(root: &Path) -> Vec<Process> {
    let entries = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?, &entry.path())).collect()
}

fn process(pid: u32, path: &Path) -> Option<Process> {
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    let started = fields.nth(12)?.parse().ok()?;
    if flags & KERNEL_THREAD != 0 {
        return None;
    }
    let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " ");
    let line = if line.is_empty() { format!("[{name}]") } else { line };
    Some(Process { pid, started, shown: format!("{pid} {state} {}", line.trim_end()) })
}

/// Everything below a folder, links not followed. `found` says of a directory whether to enter it.
fn walk(folder: &Path, found: &mut impl FnMut(&Path, bool) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if found(&path, directory) && directory {
            walk(&path, found);
        }
    }
}

fn inside(root: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}
