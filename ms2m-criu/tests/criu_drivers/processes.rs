//! Bare processes, and copies of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ms2m_criu::process::{ProcessSource, ProcessTarget, SourceOptions, TargetOptions};
use ms2m_testkit::conformance::{CheckpointSubject, RestoreSubject};

use crate::{MEMORY_MIB, parts, program};

/// In a session of its own, without the descriptors that whoever has started the test may have left.
const ALONE: &str = r#"for f in /proc/$$/fd/*; do n=${f##*/}; ((n > 2)) && eval "exec $n>&-"; done; exec setsid "$@""#;

static MADE: AtomicU32 = AtomicU32::new(0);

/// The program as a process. With all copies it is ended when dropped.
struct Running {
    child: Child,
    directory: PathBuf,
}

impl Running {
    fn start() -> Self {
        let directory = PathBuf::from(format!("/run/process-{}", MADE.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&directory).expect("a directory");
        let mut command = Command::new("bash");
        command.args(["-c", ALONE, "bash"]).args(program::words(&directory.join("log").display().to_string(), MEMORY_MIB));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let running = Self { child, directory };
        program::begins(&running.log());
        running
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    async fn source(&self) -> ProcessSource {
        ProcessSource::new(self.child.id(), SourceOptions::new(self.directory.join("source"))).await.expect("a driver")
    }

    fn end(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        program::kill_all();
        // What keeps a copy ends with it and still reads its directory until then.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// To take checkpoints of.
pub(crate) async fn process() -> CheckpointSubject {
    let running = Running::start();
    let (source, log) = (running.source().await, running.log());
    CheckpointSubject { source: Arc::new(source), alive: Box::new(move || program::works(&log)), keep: Box::new(running) }
}

/// To make copies of; the source itself has ended.
pub(crate) async fn copy_of_process() -> RestoreSubject {
    let mut running = Running::start();
    let log = running.log();
    let parts = parts(Arc::new(running.source().await), || program::works(&log)).await;
    running.end();
    let target = ProcessTarget::new(TargetOptions::new(running.directory.join("target"))).expect("a driver");
    RestoreSubject {
        target: Arc::new(target),
        parts,
        live_copies: Box::new(move || living(&log)),
        crash_copies: Box::new(program::kill_all),
        keep: Box::new(running),
    }
}

/// How many copies there are. Each that is there must work, with the right memory, on a log of its own.
fn living(log: &Path) -> usize {
    let living = program::processes();
    for pid in &living {
        let own = Path::new("/proc").join(pid.to_string()).join("root").join(log.strip_prefix("/").expect("absolute"));
        assert!(program::works(&own), "a copy is there and does not work");
    }
    living.len()
}
