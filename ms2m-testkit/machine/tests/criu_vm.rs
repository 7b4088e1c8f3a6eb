//! The virtual machine. One boot checks everything: a boot takes most of a minute.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use ms2m_testkit_machine::{Bundle, Options, vm};

fn run(runtime: &str, words: &[&str]) {
    let status = Bundle::command(runtime).args(words).status().expect("it starts");
    assert!(status.success(), "{runtime} {words:?} ended with {status}");
}

#[test]
fn pre_dump_bundles_and_the_broker_work() {
    vm::inside(&Options::default().rabbitmq(), |here| {
        let tracked = Command::new("criu").args(["check", "--feature", "mem_dirty_track"]).status().expect("criu");
        assert!(tracked.success(), "its kernel tracks dirty pages");
        let broker = here.management_url();
        TcpStream::connect(broker.strip_prefix("http://").expect("a URL")).expect("the host's broker");
        let bundle = Bundle::new("/tmp/bundle", ["sleep", "1000"]).expect("a bundle");
        run("runc", &["run", "--detach", "--bundle", bundle.path().to_str().expect("UTF-8"), "one"]);
        run("runc", &["checkpoint", "--pre-dump", "--image-path", "/tmp/before", "one"]);
        run("runc", &["checkpoint", "--image-path", "/tmp/image", "--parent-path", "../before", "--leave-running", "one"]);
        run("runc", &["delete", "--force", "one"]);
        for image in ["/tmp/before", "/tmp/image"] {
            std::fs::remove_dir_all(image).expect("an image");
        }
    });
}

const SHARE: &str = "MS2M_VM_TEST_SHARE";

/// Not a test: what the next one kills.
#[test]
#[ignore = "started by a_killed_test_ends_its_virtual_machine"]
fn holds_a_virtual_machine() {
    let share = env::var_os(SHARE).expect("started by a test");
    vm::run(Path::new(&share), "sleep 1000").expect("the script");
}

#[test]
fn a_killed_test_ends_its_virtual_machine() {
    let share = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("vm-{}", std::process::id()));
    fs::create_dir_all(&share).expect("a directory");
    let mut command = Command::new(env::current_exe().expect("this program"));
    let mut test = command.args(["holds_a_virtual_machine", "--exact", "--ignored"]).env(SHARE, &share).spawn().expect("this program");
    // Its own command line does not name the directory, those of the emulator's keepers do.
    wait(|| running(&share).len() >= 2);
    sleep(Duration::from_secs(1));
    test.kill().and_then(|()| test.wait()).expect("it ends");
    wait(|| running(&share).is_empty());
    fs::remove_dir_all(&share).expect("the directory");
}

fn wait(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "in vain");
        sleep(Duration::from_millis(20));
    }
}

/// The command lines that name a directory.
fn running(directory: &Path) -> Vec<String> {
    let lines =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&directory.display().to_string())).collect()
}
