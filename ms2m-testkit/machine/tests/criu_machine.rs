//! The machine itself, and what CRIU, runc and crun do in it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_machine::{Bundle, Cgroups, Here, Machine, Options, inside, inside_async};

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}: {text}", output.status);
    text
}

#[test]
fn criu_works() {
    inside(&Options::default(), |_| {
        assert!(run(Command::new("criu").arg("check")).contains("Looks good"));
        assert!(run(Command::new("criu").arg("--version")).contains("4."));
    });
}

#[test]
fn a_runc_container_is_checkpointed_and_restored() {
    inside(&Options::default(), |here| checkpoint_and_restore(here, "runc"));
}

#[test]
fn a_runc_container_on_the_hosts_cgroups_is_checkpointed_and_restored() {
    inside(&Options::default().cgroups(Cgroups::Host), |here| checkpoint_and_restore(here, "runc"));
}

#[test]
fn a_crun_container_is_checkpointed_and_restored() {
    inside(&Options::default(), |here| checkpoint_and_restore(here, "crun"));
}

/// Counts in memory, so that a restored process is told from a started one.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done";

fn checkpoint_and_restore(here: &Here, runtime: &str) {
    let mut bundle = Bundle::new("/tmp/bundle", ["bash", "-c", COUNT]).expect("a bundle");
    bundle.log().expect("a log");
    let call = |words: &[&str]| {
        let begun = Instant::now();
        let status = Bundle::command(runtime).args(words).current_dir(bundle.path()).status().expect("it starts");
        println!("{runtime} {} {:?}", words[0], begun.elapsed());
        if !status.success() {
            for log in ["dump.log", "restore.log"] {
                println!("{}", fs::read_to_string(Path::new("/tmp/image").join(log)).unwrap_or_default());
            }
            panic!("{runtime} {words:?} ended with {status}");
        }
    };
    let count = || -> u64 {
        let log = fs::read_to_string(bundle.rootfs().join("log")).unwrap_or_default();
        log.lines().last().and_then(|line| line.parse().ok()).unwrap_or_default()
    };
    let counts_on = |from: u64| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while count() <= from {
            assert!(Instant::now() < deadline, "it stands at {}", count());
            sleep(Duration::from_millis(10));
        }
    };
    call(&["run", "--detach", "one"]);
    counts_on(5);
    call(&["checkpoint", "--image-path", "/tmp/image", "--leave-running", "one"]);
    counts_on(count());
    assert!(!here.leftovers().is_empty(), "a container is there");
    call(&["delete", "--force", "one"]);
    let stopped_at = count();
    call(&["restore", "--detach", "--image-path", "/tmp/image", "two"]);
    counts_on(stopped_at);
    let log = fs::read_to_string(bundle.rootfs().join("log")).expect("a log");
    assert_eq!(log.lines().filter(|line| *line == "1").count(), 1, "it was restored, not started");
    call(&["delete", "--force", "two"]);
    fs::remove_dir_all("/tmp/image").expect("an image");
}

#[test]
fn leftovers_are_told() {
    inside(&Options::default().may_leave(), |here| {
        assert!(here.leftovers().is_empty(), "{}", here.leftovers());
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        fs::write("/run/file", "").expect("a file");
        fs::create_dir("/sys/fs/cgroup/left").expect("a cgroup");
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/mnt"]));
        let left = here.leftovers();
        assert!(left.processes.len() == 1 && left.processes[0].ends_with(" S sleep 1000"), "{left}");
        assert_eq!(
            (&*left.files, &*left.mounts, &*left.cgroups),
            (&["/run/file".into()][..], &["/mnt".into()][..], &["/sys/fs/cgroup/left".into()][..])
        );
        child.kill().and_then(|()| child.wait()).expect("it ends");
    });
}

#[test]
#[should_panic(expected = "failed inside its machine")]
fn what_a_body_leaves_over_fails_its_test() {
    inside(&Options::default(), |_| fs::write("/run/file", "").expect("a file"));
}

#[test]
fn what_is_orphaned_is_reaped() {
    inside(&Options::default(), |_| {
        run(Command::new("sh").args(["-c", "for i in 1 2 3; do sleep 0.05 & done"]).stdout(Stdio::null()));
    });
}

#[test]
fn the_network_and_the_broker_are_there() {
    inside_async(&Options::default().rabbitmq(), |here| {
        let url = here.management_url();
        async move {
            let address = url.strip_prefix("http://").expect("a URL");
            std::net::TcpStream::connect(address).expect("a broker");
        }
    });
}

#[test]
fn machines_do_not_meet() {
    let (one, two) = (Machine::start(&Options::default()).expect("one"), Machine::start(&Options::default()).expect("two"));
    for machine in [&one, &two] {
        fs::write(machine.path("/run/file"), "").expect("a file");
        fs::create_dir(machine.path("/sys/fs/cgroup/same")).expect("a cgroup");
        let mut sleeper = machine.command("sleep").arg("1000").spawn().expect("sleep");
        sleep(Duration::from_millis(100));
        let left = machine.leftovers();
        assert_eq!((left.processes.len(), left.files.len(), left.cgroups.len()), (1, 1, 1), "{left}");
        sleeper.kill().and_then(|()| sleeper.wait()).expect("it ends");
        assert!(machine.leftovers().processes.is_empty(), "killing the command kills what it runs: {}", machine.leftovers());
    }
}

#[test]
fn a_machine_leaves_nothing() {
    let begun = Instant::now();
    let machine = Machine::start(&Options::default()).expect("a machine");
    println!("start {:?}", begun.elapsed());
    let directory = fs::read_to_string(machine.path("/proc/1/mountinfo")).expect("mounts");
    let directory = directory.split("upperdir=").nth(1).and_then(|rest| rest.split("/fs/").next()).expect("its directory").to_owned();
    assert!(Path::new(&directory).exists());
    let pid = machine.pid();
    let begun = Instant::now();
    drop(machine);
    println!("end {:?}", begun.elapsed());
    assert_gone(pid, &directory);
}

fn assert_gone(pid: u32, directory: &str) {
    assert!(!Path::new(directory).exists(), "{directory}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid}");
    let name = Path::new(directory).file_name().expect("a name");
    let found = run(Command::new("find").args(["/sys/fs/cgroup", "-name"]).arg(name));
    assert_eq!(found, "", "its cgroups");
}
