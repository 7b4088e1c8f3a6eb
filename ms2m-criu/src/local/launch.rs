//! The runtime on its way to a restore: started in a cgroup of its own, and held back until it is known what is restored.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use tokio::process::{Child, Command};

use super::bundle::{Bundle, io, make_directory};
use super::cgroup::Cgroup;
use crate::priority::hurry;
use crate::runtime::{Flavor, Runtime};

/// To enter a cgroup can take the kernel 8 ms (it waits for all processors), so that is over before anybody waits.
const SCRIPT: &str = r#"echo 0 > "$0" && IFS= read -r images < "$1" && id=$2 && shift 2 && exec "$@" --image-path "$images" "$id""#;
/// How long it may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(1);

/// What the runtime is told beside the bundle and the images.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    /// Options in front of the command.
    pub(crate) global: Vec<OsString>,
    /// Options of the command.
    pub(crate) options: Vec<OsString>,
    /// The container gets the standard streams of this process, and not files in its bundle.
    pub(crate) inherits: bool,
}

/// Where the runtime itself is while it restores.
pub(crate) fn launch_cgroup(id: &str) -> String {
    format!("{id}.restore")
}

/// A runtime that waits. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(super) child: Child,
    /// A pipe in which it hears what to restore from.
    door: PathBuf,
}

impl Launched {
    /// Starts it within the container's launch cgroup, so that it and CRIU can be found should this process be killed.
    pub(crate) fn start(runtime: &Runtime, bundle: &Bundle, how: &How) -> Result<Self> {
        let work = bundle.own().join("restore");
        make_directory(&work, 0o700)?;
        let door = bundle.own().join("images");
        let failed = |error: Errno| io("the pipe", &door)(error.into());
        match rustix::fs::mknodat(rustix::fs::CWD, &door, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Err(error) if error != Errno::EXIST => return Err(failed(error)),
            _ => {}
        }
        let log = |name: &str| {
            let path = bundle.own().join(name);
            File::options().create(true).append(true).open(&path).map_err(io("the log", &path))
        };
        let inner = runtime.command();
        let entrance = Cgroup::named(&launch_cgroup(&bundle.id)).entrance();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT]).arg(entrance.as_deref().unwrap_or(Path::new("/dev/null"))).arg(&door).arg(&bundle.id);
        command.arg(inner.as_std().get_program()).args(inner.as_std().get_args()).args(&how.global);
        if runtime.flavor() == Flavor::Runc {
            // Its own words go to a file, because the standard error is the copy's.
            command.arg("--log").arg(bundle.own().join("restore.err"));
        }
        command.args(["restore", "--detach", "--bundle"]).arg(bundle.directory()).arg("--work-path").arg(work);
        command.args(["--manage-cgroups-mode", "ignore"]).args(&how.options);
        if !how.inherits {
            command.stdin(Stdio::null()).stdout(log("stdout.log")?).stderr(log("stderr.log")?);
        }
        let child = command.kill_on_drop(true).spawn().map_err(|error| runtime.cannot_start(error))?;
        Ok(Self { child, door })
    }

    /// Has it restore from these images. One that has ended meanwhile says so by its status.
    pub(super) async fn go(&mut self, images: &Path) -> Result<()> {
        hurry(self.child.id());
        let begun = Instant::now();
        loop {
            match rustix::fs::open(&self.door, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
                Ok(door) => {
                    let line = [images.as_os_str().as_encoded_bytes(), b"\n"].concat();
                    return rustix::io::write(&door, &line).map(drop).map_err(|error| io("the pipe", &self.door)(error.into()));
                }
                // Nobody listens yet.
                Err(Errno::NXIO) if begun.elapsed() < LISTENS => {}
                Err(Errno::NXIO) => {
                    let message = "the runtime's launcher does not come to listen; is /bin/sh there, and the node very busy?";
                    return Err(Error::undo(ErrorKind::Timeout, message).with("pipe", self.door.display()));
                }
                Err(error) => return Err(io("the pipe", &self.door)(error.into())),
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
