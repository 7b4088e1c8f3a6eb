//! `ms2m migrate --local --runtime process`: bare processes, without any container.
//!
//! `MS2M_MIGRATIONS` says how often a counter moves (3 unless set); every run is printed.

#[path = "../criu_migrate/audit.rs"]
mod audit;
mod counter;
#[path = "../criu_migrate/figures.rs"]
mod figures;
mod program;
#[path = "../criu_migrate/publish.rs"]
mod publish;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ms2m_testkit_machine::{Options, inside, inside_async};
use serde_json::Value;

/// Where checkpoints and copies are.
const WORK_DIR: &str = "/run/ms2m";
/// In a session of its own, without the descriptors that whoever has started the test may have left.
const ALONE: &str = r#"for f in /proc/$$/fd/*; do n=${f##*/}; ((n > 2)) && eval "exec $n>&-"; done; exec setsid "$@""#;

#[test]
fn a_process_without_a_queue_moves() {
    inside(&Options::default(), |_| program::moves());
}

#[test]
fn a_process_that_cannot_be_restored_runs_on() {
    inside(&Options::default(), |_| program::stays());
}

#[test]
fn a_counter_moves_while_publishers_go_on() {
    let passed = std::env::var("MS2M_MIGRATIONS").unwrap_or_else(|_| "3".into());
    let options = Options::default().rabbitmq().env("MS2M_MIGRATIONS", passed).deadline(Duration::from_secs(1200));
    inside_async(&options, |here| {
        let (url, management) = (here.amqp_url(), here.management_url());
        async move { counter::moves(&url, &management).await }
    });
}

/// Starts a program as a process that shares nothing with this test.
fn start<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> Child {
    let mut command = Command::new("bash");
    command.args(["-c", ALONE, "bash"]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// `ms2m migrate` of a process.
fn migrate(pid: u32, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
    command.args(["migrate", "--local", "--runtime", "process", "--source", &pid.to_string(), "--work-dir", WORK_DIR, "--output", "json"]);
    command.args(options);
    command
}

/// The report, and which process the copy is.
fn moved(output: &std::process::Output) -> (Value, u32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {said}{}", output.status, String::from_utf8_lossy(&output.stdout));
    let copy = said.split("the copy is process ").nth(1).and_then(|rest| rest.split(';').next()).expect("it names the copy");
    (serde_json::from_slice(&output.stdout).expect("a report"), copy.parse().expect("a process id"))
}

/// A file as this process sees it.
fn seen_by(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root{file}"))
}

/// Ends a copy, by the first process of its namespace, and removes what it stands on.
fn end(copy: u32) {
    let parent = Command::new("ps").args(["-o", "ppid=", "-p", &copy.to_string()]).output().expect("ps");
    let keeper = String::from_utf8_lossy(&parent.stdout).trim().to_owned();
    assert!(Command::new("kill").args(["-s", "KILL", &keeper]).status().expect("kill").success());
    let begun = Instant::now();
    while Command::new("pgrep").args(["-f", "ms2m-copy"]).stdout(Stdio::null()).status().expect("pgrep").success() {
        assert!(begun.elapsed() < Duration::from_secs(10), "its keeper lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::remove_dir_all(WORK_DIR).expect("removed");
}
