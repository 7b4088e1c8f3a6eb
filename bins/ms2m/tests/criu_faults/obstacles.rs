//! What cannot work: a clear word, nothing left, and the source runs on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ms2m_broker::link::{Broker as _, QueueKind, QueueOptions};
use ms2m_testkit_machine::Bundle;
use serde_json::Value;

use crate::remains::{Before, check, is_alive};
use crate::stage::{Setting, Stage};

const DEADLINE: Duration = Duration::from_secs(120);
const FAILED: i32 = 1;
const ROLLED_BACK: i32 = 3;
const BROKEN: &str = "/run/obstacles";

struct Obstacle {
    name: &'static str,
    options: Vec<(&'static str, String)>,
    /// A directory before all others in which programs are looked for.
    path: Option<&'static str>,
    /// What is mounted by then, to be unmounted before anything is looked at.
    covers: Option<&'static str>,
    exit: i32,
    says: &'static [&'static str],
}

fn obstacle(name: &'static str, exit: i32, says: &'static [&'static str]) -> Obstacle {
    Obstacle { name, options: Vec::new(), path: None, covers: None, exit, says }
}

impl Obstacle {
    fn with(mut self, option: &'static str, value: impl Into<String>) -> Self {
        self.options.push((option, value.into()));
        self
    }

    fn path(mut self, path: &'static str) -> Self {
        self.path = Some(path);
        self
    }

    fn covers(mut self, file: &'static str) -> Self {
        self.covers = Some(file);
        self
    }

    /// Tries, and says what is wrong with what it gets.
    async fn meet(&self, stage: &Stage) -> Result<(), String> {
        let before = Before::take(stage.setting.runtime);
        let begun = std::time::Instant::now();
        let mut options: Vec<_> = self.options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !options.iter().any(|(name, _)| *name == "--copy") {
            options.push(("--copy", "hindered"));
        }
        let mut command = stage.command(&options);
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("in time").unwrap();
        if let Some(file) = self.covers {
            let uncovered = std::process::Command::new("umount").arg(file).status().unwrap();
            assert!(uncovered.success(), "{}: {file} was not covered", self.name);
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let words = format!("{} {}", report["reason"].as_str().unwrap_or_default(), String::from_utf8_lossy(&output.stderr));
        println!("{} ({:.1?}): {} {words}", self.name, begun.elapsed(), output.status);
        let missing: Vec<_> = self.says.iter().filter(|part| !words.contains(**part)).collect();
        if output.status.code() != Some(self.exit) || !missing.is_empty() {
            return Err(format!("{}: {} instead of {}, without {missing:?}: {words}", self.name, output.status, self.exit));
        }
        check(stage, &before).await.map_err(|wrong| format!("{}: {wrong}", self.name))
    }
}

/// One source for all of them.
pub(crate) async fn run(setting: Setting) {
    std::fs::create_dir_all(BROKEN).unwrap();
    std::fs::create_dir_all("/run/data").unwrap();
    let stage = Stage::begin(Setting { data: Some("/run/data".into()), ..setting }).await;
    let other = Bundle::new("/run/other", ["sleep", "1000"]).unwrap();
    let started = Bundle::command("runc").args(["run", "--detach", "--bundle"]).arg(other.path()).arg("other").status();
    assert!(started.unwrap().success());
    let admin = stage.broker.connect("test-admin").await.unwrap();
    admin.declare("lonely", &QueueOptions { kind: QueueKind::Quorum, single_active_consumer: false, bytes_max: None }).await.unwrap();
    let disks = [("small", 6), ("medium", 18), ("large", 26)].map(|(name, mib)| Disk::new(name, mib));

    let mut wrong = Vec::new();
    for obstacle in obstacles(&stage, &disks) {
        wrong.extend(obstacle.meet(&stage).await.err());
        assert!(is_alive("runc", "other"), "{}: another container has ended", obstacle.name);
    }

    assert!(Bundle::command("runc").args(["delete", "--force", "other"]).status().unwrap().success());
    admin.delete("lonely").await.unwrap();
    admin.close().await;
    drop((other, disks));
    if wrong.is_empty() {
        // And without an obstacle it moves.
        let mut stage = stage;
        assert_eq!(stage.migrate(1, &[]).await["outcome"], "completed");
        stage.end().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for place in [BROKEN, "/run/data"] {
        std::fs::remove_dir_all(place).unwrap();
    }
}

fn obstacles(stage: &Stage, disks: &[Disk; 3]) -> Vec<Obstacle> {
    let at_restore = |name, what: &str| {
        let real = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        program(name, "runc", &format!("case \" $* \" in *' restore '*) {what} ;; esac; {real} exec runc \"$@\""))
    };
    let without_program = bundle(stage, "no-program", |_| {});
    let without_mount =
        bundle(stage, "no-mount", |spec| spec["mounts"].as_array_mut().unwrap().retain(|one| one["destination"] != "/data"));
    vec![
        obstacle("CRIU is missing", FAILED, &["install CRIU"]).with("--criu", "/nowhere/criu"),
        obstacle("what is called CRIU is none", FAILED, &["CRIU"]).with("--criu", "/bin/true"),
        obstacle("the runtime is missing", FAILED, &["runc cannot be started; install it"]).path("/nowhere"),
        obstacle("no such container", FAILED, &["no such container", "`list`"]).with("--source", "nobody"),
        obstacle("the name is taken", FAILED, &["choose another name"]).with("--copy", "other"),
        obstacle("the name is the source's", FAILED, &["choose another name"]).with("--copy", stage.container.clone()),
        obstacle("the processor lacks something", ROLLED_BACK, &["processor lacks", "restore on one that has it"])
            .path(other_processor())
            .covers("/proc/cpuinfo"),
        obstacle("no bundle", FAILED, &["bundle for the copy", "config.json"]).with("--bundle", "/nowhere"),
        obstacle("the base lacks the program", ROLLED_BACK, &["use the same image"]).with("--bundle", without_program),
        obstacle("the base lacks a mount", ROLLED_BACK, &["lacks", "/data"]).with("--bundle", without_mount),
        obstacle("the broker is down", FAILED, &["the broker is not available"]).with("--broker", "amqp://guest:guest@127.0.0.1:1"),
        obstacle("no such queue", FAILED, &["queue"]).with("--queue", "nothing"),
        obstacle("nobody consumes", FAILED, &["lonely"]).with("--queue", "lonely"),
        obstacle("no room for the dump", ROLLED_BACK, &["room"]).with("--work-dir", disks[0].text()),
        obstacle("no room for the transfer", ROLLED_BACK, &["make room"]).with("--work-dir", disks[1].text()),
        obstacle("no room where it arrives", ROLLED_BACK, &["room"]).with("--work-dir", disks[2].text()),
        obstacle("the runtime hangs", ROLLED_BACK, &["not done within 3 s", "restore"])
            .with("--restore-within", "3")
            .path(at_restore("hangs", "sleep 1000")),
        obstacle("the runtime fails", ROLLED_BACK, &["could not restore the copy", "exit status: 7"]).path(at_restore("fails", "exit 7")),
        obstacle("the runtime is killed", ROLLED_BACK, &["could not restore the copy", "signal: 9"]).path(at_restore("dies", "kill -9 $$")),
    ]
}

/// A directory with a program in place of another one, before the usual ones.
fn program(name: &str, replaces: &str, script: &str) -> &'static str {
    let directory = Path::new(BROKEN).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(replaces);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.display()).leak()
}

/// Once the source has been looked at, and before anything is restored, the processor has one feature less.
fn other_processor() -> &'static str {
    let other = Path::new(BROKEN).join("cpuinfo");
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let lacks = |line: &str| if line.starts_with("flags") { line.rsplit_once(' ').unwrap().0.to_owned() } else { line.to_owned() };
    std::fs::write(&other, info.lines().map(|line| lacks(line) + "\n").collect::<String>()).unwrap();
    // Whoever asks CRIU once the migration is on record is the target.
    let once = format!("mountpoint -q /proc/cpuinfo || mount --bind {} /proc/cpuinfo", other.display());
    let real = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    program(
        "processor",
        "criu",
        &format!("[ -e /run/ms2m/states ] && [ -n \"$(ls /run/ms2m/states)\" ] && {{ {once}; }}; {real} exec criu \"$@\""),
    )
}

/// A bundle for the copy with a root file system that has hardly anything in it.
fn bundle(stage: &Stage, name: &str, change: impl FnOnce(&mut Value)) -> String {
    let place = Path::new(BROKEN).join(name);
    for directory in ["etc", "proc", "sys", "dev", "data", "usr/local/bin", "usr/lib"] {
        std::fs::create_dir_all(place.join("rootfs").join(directory)).unwrap();
    }
    let text = std::fs::read_to_string(format!("/run/bundle-{}/config.json", stage.container)).unwrap();
    let mut spec: Value = serde_json::from_str(&text).unwrap();
    change(&mut spec);
    std::fs::write(place.join("config.json"), spec.to_string()).unwrap();
    place.display().to_string()
}

/// A work directory of limited size.
struct Disk(PathBuf);

impl Disk {
    fn new(name: &str, mib: u32) -> Self {
        let place = Path::new("/run").join(name);
        std::fs::create_dir_all(&place).unwrap();
        let size = format!("size={mib}m");
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&place).status();
        assert!(mounted.unwrap().success());
        Self(place)
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Sources that CRIU refuses.
pub(crate) async fn run_odd_sources(setting: Setting) {
    let outside = PathBuf::from("/run/outside.log");
    // perl is part of every Debian; 425 is io_uring_setup. Where the kernel refuses that, the process is like any other.
    let ring = "perl -e '$p = \"\\0\" x 120; $f = syscall(425, 8, $p); open(F, \">/ring\"); print F $f; close F; sleep 1000' </dev/null";
    let large = "perl -e 'open(F, \">/large\"); print F \"x\" x (20 << 20); F->flush; unlink(\"/large\"); sleep 1000' </dev/null";
    let terminal = Terminal::open();
    let cases = [
        (Setting { stdout: Some(terminal.name.clone()), ..setting.clone() }, "a terminal", &["stdio", "/dev/pts/"] as &[_]),
        (Setting { beside: Some(large), ..setting.clone() }, "a large file without a name", &["ghost limit"]),
        (Setting { stdout: Some(outside.clone()), ..setting.clone() }, "stdio outside", &["stdio", "/dev/null"]),
        (Setting { beside: Some(ring), ..setting.clone() }, "io_uring", &["io_uring"]),
    ];
    let mut wrong = Vec::new();
    for (setting, name, says) in cases {
        let stage = Stage::begin(setting).await;
        let root = format!("/run/bundle-{}/rootfs/ring", stage.container);
        let ring = std::fs::read_to_string(root).unwrap_or_default();
        if name == "io_uring" && !ring.parse::<i32>().is_ok_and(|fd| fd >= 0) {
            println!("this kernel has no io_uring (its answer: {ring:?}), so that case was left out");
        } else {
            wrong.extend(obstacle(name, ROLLED_BACK, says).meet(&stage).await.err());
        }
        stage.end().await;
    }
    let _ = std::fs::remove_file(outside);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A terminal of this machine, as long as it is held.
struct Terminal {
    name: PathBuf,
    _controller: rustix::fd::OwnedFd,
}

impl Terminal {
    fn open() -> Self {
        let controller = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&controller).unwrap();
        rustix::pty::unlockpt(&controller).unwrap();
        let name = rustix::pty::ptsname(&controller, Vec::new()).unwrap();
        Self { name: name.into_string().unwrap().into(), _controller: controller }
    }
}
