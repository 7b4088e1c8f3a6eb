//! Containers of runc and crun, and copies of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ms2m_core::{MigrationId, Part};
use ms2m_criu::criu::Criu;
use ms2m_criu::local::{LocalTarget, Template};
use ms2m_criu::runtime::{Container, Flavor, Runtime, RuntimeSource};
use ms2m_testkit::conformance::{CheckpointSubject, RestoreSubject};
use ms2m_testkit_machine::Bundle;

use crate::{MEMORY_MIB, parts, program};

/// The container's name within a checkpoint.
const NAME: &str = "main";
static MADE: AtomicU32 = AtomicU32::new(0);

/// A running container with the program in it. With all copies it is removed when dropped.
pub(crate) struct Running {
    flavor: Flavor,
    id: String,
    bundle: Bundle,
    work_dir: PathBuf,
}

impl Running {
    fn start(flavor: Flavor) -> Self {
        Self::of(flavor, program::words("/log", MEMORY_MIB))
    }

    /// With this command line.
    pub(crate) fn of(flavor: Flavor, words: Vec<String>) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let (id, work_dir) = (format!("source-{number}"), PathBuf::from(format!("/run/work-{number}")));
        let bundle = Bundle::new(format!("/run/bundle-{number}"), words).expect("a bundle");
        let mut run = Bundle::command(&flavor.to_string());
        let status = run.args(["run", "--detach", "--bundle"]).arg(bundle.path()).arg(&id).status();
        assert!(status.expect("it starts").success(), "{flavor} does not start the container");
        let running = Self { flavor, id, bundle, work_dir };
        program::begins(&running.log());
        running
    }

    fn log(&self) -> PathBuf {
        self.bundle.rootfs().join("log")
    }

    pub(crate) async fn source(&self) -> RuntimeSource {
        let containers = [(NAME.to_owned(), self.id.clone())];
        let source = RuntimeSource::open(Runtime::new(self.flavor), Criu::default(), &self.work_dir, &containers).await;
        source.expect("a driver")
    }

    /// Where the driver keeps a part that it has taken.
    pub(crate) fn part(&self, migration: &MigrationId, part: Part) -> PathBuf {
        self.work_dir.join("migrations").join(migration.as_str()).join("source").join(part.to_string())
    }

    fn remove(&self, id: &str) {
        let mut delete = Command::new(self.flavor.to_string());
        let _ = delete.args(["delete", "--force", id]).stderr(Stdio::null()).status();
    }

    fn copies(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.work_dir.join("containers")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remove(&self.id);
        for copy in self.copies() {
            self.remove(&copy.file_name().unwrap_or_default().to_string_lossy());
            unmount(&copy.join("rootfs"));
        }
        let _ = std::fs::remove_dir_all(&self.work_dir);
    }
}

fn unmount(path: &Path) {
    let _ = Command::new("umount").arg(path).stderr(Stdio::null()).status();
}

/// To take checkpoints of.
pub(crate) async fn container(flavor: Flavor) -> CheckpointSubject {
    let running = Running::start(flavor);
    let (source, log) = (running.source().await, running.log());
    CheckpointSubject { source: Arc::new(source), alive: Box::new(move || program::works(&log)), keep: Box::new(running) }
}

/// To make copies of; the source itself has ended.
pub(crate) async fn copy_of_container(flavor: Flavor) -> RestoreSubject {
    let running = Running::start(flavor);
    let (runtime, log) = (Runtime::new(flavor), running.log());
    let container = Container::inspect(&runtime, &running.id).await.expect("it runs");
    let template = Template::of(NAME, &container).expect("a template");
    let parts = parts(Arc::new(running.source().await), || program::works(&log)).await;
    running.remove(&running.id);
    let target = LocalTarget::new(runtime, &running.work_dir, vec![template]);
    let place = running.work_dir.join("containers");
    RestoreSubject {
        target: Arc::new(target),
        parts,
        live_copies: Box::new(move || living(&place)),
        crash_copies: Box::new(program::kill_all),
        keep: Box::new(running),
    }
}

/// How many of the copies below this directory there are. Each that is there must work, with the right memory.
fn living(place: &Path) -> usize {
    let living = program::processes().len();
    if living > 0 {
        let copies = std::fs::read_dir(place).expect("a directory").flatten();
        let working = copies.filter(|copy| program::works(&copy.path().join("rootfs/log"))).count();
        assert_eq!(working, living, "a copy is there and does not work");
    }
    living
}
