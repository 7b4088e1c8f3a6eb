//! What `doctor` says of a source, beside what CRIU then does with it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ms2m_core::{CheckpointJob, CheckpointSource, MigrationId};
use ms2m_criu::check::{Check, CheckResult};
use ms2m_criu::criu::Criu;
use ms2m_criu::doctor::{MachineOptions, SourceOptions, Taker, machine, source};
use ms2m_criu::process::{ProcessSource, SourceOptions as ProcessOptions};
use ms2m_criu::runtime::{Flavor, Runtime, RuntimeSource};
use ms2m_testkit_machine::{Bundle, Options, inside_async};

/// A program, the checks that fail when ms2m takes the checkpoint, and one that must not be silent.
const PROCESSES: [(&str, &str, &[&str], Option<&str>); 17] = [
    ("plain", "", &[], None),
    ("io-uring", "$p = qq(\\0) x 120; exit 3 if syscall(425, 4, $p) < 0;", &["kernel-objects"], None),
    (
        "perf",
        "$a = pack('LLQQQQQ', 1, 112, 0, 0, 0, 0, 0) . qq(\\0) x 64; exit 3 if syscall(298, $a, 0, -1, -1, 0) < 0;",
        &["kernel-objects"],
        None,
    ),
    (
        "mptcp",
        "use Socket; socket(S, 2, 1, 262) or exit 3; bind(S, sockaddr_in(0, INADDR_LOOPBACK)); listen(S, 5);",
        &["kernel-objects"],
        None,
    ),
    ("vsock", "use Socket; socket(S, 40, 1, 0) or exit 3;", &["kernel-objects"], None),
    ("pidfd", "$p = $$ + 0; exit 3 if syscall(434, $p, 0) < 0;", &[], None),
    ("lock", "open F, '>', '/run/lock-it'; flock(F, 2);", &["file-locks"], None),
    ("tcp", "use IO::Socket::INET; $s = IO::Socket::INET->new('ADDRESS') or die;", &[], Some("tcp")),
    ("ghost", "open F, '+>', '/run/g'; syswrite F, 'x' x 3000000; unlink '/run/g';", &[], None),
    ("large-ghost", "open F, '+>', '/run/g'; syswrite F, 'x' x 1000000 for 1 .. 20; unlink '/run/g';", &["deleted-files"], None),
    ("other-name", "open F, '>', '/run/g'; link '/run/g', '/run/g2'; unlink '/run/g';", &["deleted-files"], None),
    ("watch", "$fd = syscall(294, 0); $d = '/run'; exit 3 if syscall(254, $fd, $d, 2) < 0;", &[], Some("watches")),
    ("fuse", "open F, '+<', '/dev/fuse' or exit 3;", &["devices"], None),
    (
        "outside-socket",
        "use Socket; $s = sockaddr_un('/run/listening'); socket(S, 1, 1, 0); connect(S, $s) or die;",
        &["unix-sockets"],
        None,
    ),
    ("traced", "if (!($c = fork)) { syscall(101, 0, 0, 0, 0); sleep 1 while 1 } $SIG{TERM} = sub { kill 9, $c; exit };", &["traced"], None),
    ("userfault", "exit 3 if syscall(323, 0) < 0;", &["kernel-objects"], None),
    ("thread-of-pids", "exit 3 if syscall(272, 0x20000000) < 0; if (!fork) { sleep 1 while 1 } ", &["pid-namespace"], None),
];

struct Source {
    child: Child,
    ready: String,
}

impl Source {
    /// Starts a program in a session of its own and waits until it is ready. `None` when the kernel lacks what it wants to use.
    fn start(name: &str, script: &str) -> Option<Self> {
        let ready = format!("/run/ready-{name}");
        let script = format!("{script} open R, '>', '{ready}'; close R; sleep 1 while 1");
        // Whoever has started the test may have left descriptors of its own.
        let alone = "for f in /proc/$$/fd/*; do n=${f##*/}; ((n > 2)) && eval \"exec $n>&-\"; done; exec setsid perl -e \"$1\"";
        let mut command = Command::new("bash");
        command.args(["-c", alone, "bash", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut source = Self { child: command.spawn().expect("perl"), ready };
        let end = Instant::now() + Duration::from_secs(10);
        while !Path::new(&source.ready).exists() {
            if let Some(status) = source.child.try_wait().expect("a child") {
                assert_eq!(status.code(), Some(3), "{name} has failed");
                return None;
            }
            assert!(Instant::now() < end, "{name} does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(source)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // A tracer's child would live on.
        let _ = Command::new("pkill").args(["-KILL", "-P", &self.child.id().to_string()]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.ready);
    }
}

async fn look(name: &str, runtime: Option<Flavor>, taker: Taker) -> Vec<Check> {
    let options = SourceOptions { source: name.into(), runtime, runtime_root: None, taker, work_dir: "/tmp".into() };
    source(&options).await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| check.result == CheckResult::Fail).map(|check| check.name.as_str()).collect()
}

fn line<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no line about {name}: {checks:?}"))
}

/// Takes a checkpoint and lets the source run on.
async fn take(source: &dyn CheckpointSource) -> Result<(), String> {
    let migration = MigrationId::new("doctor").expect("a name");
    let job = CheckpointJob { migration, parent: None, leave_running: true, deadline: Duration::from_secs(30) };
    source.checkpoint(&job).await.map(drop).map_err(|error| error.to_string())
}

async fn take_process(pid: u32) -> Result<(), String> {
    let images = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let source = ProcessSource::new(pid, ProcessOptions::new(images.path())).await.map_err(|error| error.to_string())?;
    take(&source).await
}

async fn take_container(flavor: Flavor, name: &str) -> Result<(), String> {
    let images = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let containers = [("main".to_owned(), name.to_owned())];
    let source = RuntimeSource::open(Runtime::new(flavor), Criu::default(), images.path(), &containers).await;
    take(&source.map_err(|error| error.to_string())?).await
}

#[test]
fn doctor_and_criu_agree_about_processes() {
    inside_async(&Options::default(), |_| async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address").to_string();
        let unix = UnixListener::bind("/run/listening").expect("a listener");
        std::thread::spawn(move || {
            let mut accepted = Vec::new();
            while let Ok((socket, _)) = unix.accept() {
                accepted.push(socket);
            }
        });
        let mut wrong = Vec::new();
        for (name, script, fails, tells) in PROCESSES {
            let Some(process) = Source::start(name, &script.replace("ADDRESS", &address)) else {
                eprintln!("{name}: this kernel has no such thing");
                continue;
            };
            let pid = process.child.id();
            let checks = look(&pid.to_string(), None, Taker::Ms2m).await;
            let dumped = take_process(pid).await;
            if failed(&checks) != fails {
                wrong.push(format!("{name}: doctor fails {:?}: {checks:?}", failed(&checks)));
            }
            if dumped.is_ok() != fails.is_empty() {
                wrong.push(format!("{name}: ms2m: {dumped:?}"));
            }
            if let Some(tells) = tells {
                let told = line(&checks, tells);
                assert!(told.result == CheckResult::Warn && told.remedy.is_some(), "{name}: {told}");
            }
            drop(process);
            for file in ["/run/lock-it", "/run/g", "/run/g2"] {
                let _ = fs::remove_file(file);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        fs::remove_file("/run/listening").expect("the socket");
    });
}

/// A program, what fails when the runtime or ms2m takes the checkpoint, and what is said.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str], &'a str);

/// A container of one runtime, removed when dropped.
struct Container {
    flavor: &'static str,
    name: String,
    bundle: Bundle,
}

impl Container {
    fn run(flavor: Flavor, name: &str, script: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let flavor = if flavor == Flavor::Runc { "runc" } else { "crun" };
        let script = format!("{script} open R, '>', '/ready'; close R; sleep 1 while 1");
        let bundle = Bundle::new(format!("/var/tmp/{flavor}-{name}"), ["perl", "-e", &script]).expect("a bundle");
        let container = Self { flavor, name: name.into(), bundle };
        let mut command = Bundle::command(flavor);
        command.args(["run", "--detach", "--bundle"]).arg(container.bundle.path()).arg(name);
        prepare(&mut command);
        assert!(command.status().expect("a runtime").success(), "{flavor} does not run {name}");
        container.wait();
        container
    }

    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.bundle.rootfs().join("ready").exists() {
            assert!(Instant::now() < end, "{} {} does not start", self.flavor, self.name);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the runtime's own checkpoint works; what CRIU says if not.
    fn checkpoint(&self) -> Result<(), String> {
        let images = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let mut command = Bundle::command(self.flavor);
        command
            .args(["checkpoint", "--leave-running", "--image-path"])
            .arg(images.path())
            .arg("--work-path")
            .arg(images.path())
            .arg(&self.name);
        if command.status().expect("a runtime").success() {
            return Ok(());
        }
        Err(fs::read_to_string(images.path().join("dump.log")).unwrap_or_default().lines().filter(|line| line.contains("Error")).collect())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Bundle::command(self.flavor).args(["delete", "--force", &self.name]).status();
    }
}

#[test]
fn doctor_and_the_runtimes_agree_about_containers() {
    let options =
        Options::default().criu_conf("runc", "network-lock skip\n").criu_conf("crun", "network-lock skip\nmanage-cgroups ignore\n");
    inside_async(&options, |_| async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address").to_string();
        let connect = format!("use IO::Socket::INET; $s = IO::Socket::INET->new('{address}') or die;");
        let mut wrong = Vec::new();
        for flavor in [Flavor::Runc, Flavor::Crun] {
            let lock = "open F, '>', '/l'; flock(F, 2);";
            let cases: [Case; 4] = [
                ("plain", "", &[], &[], ""),
                ("lock", lock, &["file-locks"], &[], "FLOCK on /l"),
                ("tcp", &connect, &["tcp"], &[], &address),
                ("outside", "", &["outside-files"], &["outside-files"], "/run/log"),
            ];
            for (name, script, by_runtime, by_ms2m, says) in cases {
                let container = Container::run(flavor, name, script, |command| {
                    if name == "outside" {
                        command.stdout(File::create("/run/log").expect("a log"));
                    }
                });
                let checks = look(name, Some(flavor), Taker::Runtime).await;
                assert!(checks.iter().any(|check| check.reason.contains(says)), "{checks:?}");
                let done = container.checkpoint();
                if failed(&checks) != by_runtime || done.is_ok() != by_runtime.is_empty() {
                    wrong.push(format!("{flavor} {name}: doctor fails {:?}, {flavor}: {done:?}", failed(&checks)));
                }
                let checks = look(name, None, Taker::Ms2m).await;
                let done = take_container(flavor, name).await;
                if failed(&checks) != by_ms2m || done.is_ok() != by_ms2m.is_empty() {
                    wrong.push(format!("{flavor} {name}: doctor fails {:?}, ms2m: {done:?}", failed(&checks)));
                }
            }
        }
        drop(TcpStream::connect(&address));
        fs::remove_file("/run/log").expect("the log");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_container_with_a_terminal_is_refused() {
    inside_async(&Options::default(), |_| async {
        let mut bundle = Bundle::new("/var/tmp/terminal", ["sleep", "1000"]).expect("a bundle");
        bundle
            .edit(|spec| {
                if let Some(process) = spec.process_mut() {
                    process.set_terminal(Some(true));
                }
            })
            .expect("a terminal");
        let run = format!("runc run --bundle {} terminal", bundle.path().display());
        let mut script =
            Command::new("script").args(["-qc", &run, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("script");
        let end = Instant::now() + Duration::from_secs(10);
        while !Bundle::command("runc").args(["state", "terminal"]).status().expect("runc").success() {
            assert!(Instant::now() < end, "the container does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        let checks = look("terminal", Some(Flavor::Runc), Taker::Ms2m).await;
        assert_eq!(failed(&checks), ["terminal"], "{checks:?}");
        let container = Container { flavor: "runc", name: "terminal".into(), bundle };
        assert!(take_container(Flavor::Runc, "terminal").await.is_err());
        let checks = look("terminal", Some(Flavor::Runc), Taker::Runtime).await;
        assert_eq!(line(&checks, "terminal").result, CheckResult::Warn);
        container.checkpoint().expect("runc carries the container's end of the terminal");
        drop(container);
        let _ = script.wait();
    });
}

#[test]
fn this_machine_can_do_it() {
    inside_async(&Options::default().criu_conf("crun", "bogus\n"), |_| async {
        let options = |runtime| MachineOptions { runtime: Some(runtime), criu: "criu".into(), work_dir: "/var/tmp".into(), against: None };
        let checks = machine(&options(Flavor::Runc)).await;
        assert!(failed(&checks).is_empty(), "{checks:?}");
        let tracks = Criu::default().features().await.expect("its features").mem_track;
        assert_eq!(line(&checks, "soft-dirty").result == CheckResult::Ok, tracks, "{}", line(&checks, "soft-dirty"));
        assert_eq!(failed(&machine(&options(Flavor::Crun)).await), ["/etc/criu/crun.conf"]);
    });
}
