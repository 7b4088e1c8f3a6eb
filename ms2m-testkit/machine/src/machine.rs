//! The machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Leftovers, MachineError, Options, Snapshot, paths};

const KEEPER: &str = include_str!("keeper.sh");
const INIT: &str = include_str!("init.sh");

/// Into the machine's cgroups first, all of them, as its keeper sees them. What is entered dies with `nsenter`, so that killing the
/// [`Command`]'s child kills it.
const ENTER: &str = r#"
keeper=$1 machine=$2 directory=$3; shift 3
for top in "/proc/$keeper/root$directory/fs/cgroup"/*/"${directory##*/}"; do
  [ ! -d "$top/init" ] || top=$top/init
  echo $$ >"$top/cgroup.procs" || exit
done
exec nsenter --target "$machine" --mount --pid --uts --ipc --cgroup --root --wd -- setpriv --pdeathsig KILL -- "$@"
"#;

/// A running machine. It ends, with all its processes, when dropped and when this process ends in whatever way.
#[derive(Debug)]
pub struct Machine {
    keeper: Child,
    pid: u32,
    directory: PathBuf,
    /// Whoever can lock it may remove the directory.
    _lock: File,
    fresh: Option<Snapshot>,
}

impl Machine {
    /// Starts one.
    ///
    /// # Errors
    /// [`MachineError`]; nothing is left then.
    pub fn start(options: &Options) -> Result<Self, MachineError> {
        if !rustix::process::geteuid().is_root() {
            return Err(MachineError::NotRoot);
        }
        let base = paths::base_root()?;
        let directory = tempfile::Builder::new().prefix("ms2m-machine-").tempdir().map_err(MachineError::io("make", "a directory"))?;
        for name in ["fs", "disk", "criu"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).map_err(MachineError::io("make", path))?;
        }
        for (name, content) in &options.criu_conf {
            let path = directory.path().join("criu").join(format!("{name}.conf"));
            fs::write(&path, content).map_err(MachineError::io("write", path))?;
        }
        let lock = locked(&directory.path().join("lock"))?;
        let (keeper, pid) = launch(directory.path(), &base, options)?;
        // From here on the keeper removes it.
        let directory = directory.keep();
        let mut machine = Self { keeper, pid, directory, _lock: lock, fresh: None };
        machine.settle();
        machine.fresh = Some(Snapshot::of_root(&machine.path("/")));
        Ok(machine)
    }

    /// Process 1, as the host counts.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A command that runs in the machine, in `/`. Killing it kills the program that it runs, not what that started.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(ENTER).arg("ms2m-enter");
        command.args([self.keeper.id(), self.pid].map(|pid| pid.to_string())).arg(&self.directory).arg(program);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root").env_remove("TMPDIR");
        command
    }

    /// Where the host sees a file of the machine.
    #[must_use]
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// What is there now and was not when it started. Waits a moment for what is just ending.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        self.fresh.as_ref().map(Snapshot::leftovers).unwrap_or_default()
    }

    /// `unshare` is left in the top cgroup, which must be empty to hand controllers down.
    fn settle(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
        // Absent with cgroup v1, where it need not.
        let _ = fs::write(self.path("/sys/fs/cgroup/init/cgroup.procs"), parent);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn locked(path: &Path) -> Result<File, MachineError> {
    let file = File::create(path).map_err(MachineError::io("make", path))?;
    file.lock().map_err(MachineError::io("lock", path))?;
    Ok(file)
}

/// Starts the keeper and waits for process 1.
fn launch(directory: &Path, base: &Path, options: &Options) -> Result<(Child, u32), MachineError> {
    let log = directory.join("log");
    let errors = File::create(&log).map_err(MachineError::io("make", &log))?;
    let mut keeper = Command::new("unshare");
    keeper.args(["--mount", "--propagation", "private", "/bin/sh", "-c", KEEPER, "machine-keeper"]).arg(directory);
    keeper.arg(INIT).arg(directory).arg(options.cgroups.name()).arg(base).args(paths::visible()).args(&options.seen);
    // A group of its own: an interrupt from the terminal must reach the test first.
    keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).process_group(0).current_dir("/");
    let mut keeper = keeper.spawn().map_err(MachineError::io("run", "unshare"))?;
    let mut line = String::new();
    let said = keeper.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    match line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok()) {
        Some(pid) => Ok((keeper, pid)),
        None => {
            let why = fs::read_to_string(&log).unwrap_or_default();
            drop(keeper.stdin.take());
            let _ = keeper.wait();
            Err(MachineError::DidNotStart(if why.is_empty() { format!("{said:?}") } else { why }))
        }
    }
}

impl crate::Cgroups {
    fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Host => "host",
        }
    }
}
