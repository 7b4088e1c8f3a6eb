//! `ms2m demo --broker` on a RabbitMQ of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};
use serde_json::Value;

static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();

fn server() -> &'static RabbitMqServer {
    SERVER.get_or_init(|| RabbitMqServer::start(&Options::default()).unwrap())
}

/// A demo on the server; `arguments` are added.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
    command.args(["demo", "--output", "json", "--broker", &server().amqp_url(), "--management", &server().management_url()]);
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn summary(output: &Output) -> Value {
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    result["summary"].clone()
}

fn is_exact(output: &Output, what: &str) {
    let summary = summary(output);
    assert_eq!((output.status.code(), &summary["exact"]), (Some(0), &true.into()), "{what}: {output:?}");
    assert_eq!((&summary["lost"], &summary["doubled"], &summary["reordered"]), (&0.into(), &0.into(), &0.into()), "{what}");
}

#[test]
fn every_queue_type_and_mode_is_exact() {
    for queue in ["classic", "classic+", "quorum", "quorum+", "stream"] {
        for mode in ["chase", "hold"] {
            let kind = queue.trim_end_matches('+');
            let mut demo =
                command(&["--queue-type", kind, "--mode", mode, "--migrations", "2", "--messages", "250", "--service-us", "10000"]);
            if queue.ends_with('+') {
                demo.arg("--single-active-consumer");
            }
            let output = demo.output().unwrap();
            is_exact(&output, &format!("{queue} {mode}"));
            assert_eq!(summary(&output)["completed"], 2, "{queue} {mode}");
        }
    }
}

#[test]
fn faults_cost_no_message() {
    let output = command(&["--migrations", "8", "--faults", "random", "--seed", "5", "--queue-type", "quorum"]).output().unwrap();
    is_exact(&output, "faults");
}

#[test]
fn a_killed_driver_is_gone_on_from() {
    for phase in ["Pending", "Checkpointing", "Transferring", "Restoring", "Replaying", "Finalizing", "Completed"] {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().to_str().unwrap();
        let arguments = ["--state-dir", state_dir, "--migrations", "2", "--messages", "300", "--queue-type", "classic"];
        let mut first = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(directory.path(), phase, &mut first);
        first.kill().unwrap();
        first.wait().unwrap();
        let second = command(&arguments).output().unwrap();
        is_exact(&second, phase);
        let told = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(told.contains("going on with demo"), "{phase}: {told}");
        assert_eq!(summary(&second)["migrations"], 2, "{phase}");
    }
}

/// Waits until a migration's stored state has reached that phase.
fn wait_for(directory: &Path, phase: &str, driver: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(30);
    const ORDER: [&str; 7] = ["Pending", "Checkpointing", "Transferring", "Restoring", "Replaying", "Finalizing", "Completed"];
    let position = |name: &str| ORDER.iter().position(|other| *other == name);
    loop {
        let states = fs::read_dir(directory.join("migrations")).into_iter().flatten().flatten();
        for state in states.filter_map(|entry| fs::read(entry.path()).ok()) {
            let state: Value = serde_json::from_slice(&state).unwrap_or_default();
            if position(state["phase"].as_str().unwrap_or_default()) >= position(phase) {
                return;
            }
        }
        // A final state is removed soon; the progress tells it as well.
        let progress = fs::read(directory.join("progress.json")).unwrap_or_default();
        let progress: Value = serde_json::from_slice(&progress).unwrap_or_default();
        if progress["number"].as_u64() > Some(1) {
            return;
        }
        assert!(Instant::now() < deadline && driver.try_wait().unwrap().is_none(), "{phase} is not reached");
        sleep(Duration::from_micros(300));
    }
}

#[test]
fn two_drivers_do_not_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--state-dir", directory.path().to_str().unwrap(), "--migrations", "1", "--messages", "150"];
    let mut first = command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    while !directory.path().join("demo.json").exists() {
        sleep(Duration::from_millis(1));
    }
    let second = command(&arguments).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another ms2m demo"), "{second:?}");
    assert!(first.wait().unwrap().success());
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let mut demo = command(&["--migrations", "50", "--messages", "20000", "--rate", "400"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(2_500));
    let status = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().unwrap();
    assert!(status.success());
    let deadline = Instant::now() + Duration::from_secs(30);
    while demo.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        sleep(Duration::from_millis(10));
    }
    let output = demo.wait_with_output().unwrap();
    assert_eq!(summary(&output)["exact"], true, "{output:?}");
}

#[test]
fn the_mirror_scheme_is_caught() {
    let output = command(&["--scheme", "mirror", "--queue-type", "classic", "--service-us", "10000"]).output().unwrap();
    let summary = summary(&output);
    assert_eq!((output.status.code(), &summary["exact"]), (Some(4), &false.into()), "{output:?}");
    let found: u64 = ["lost", "doubled", "reordered"].iter().map(|name| summary[name].as_u64().unwrap()).sum();
    assert!(found > 0, "{summary:#}");
}

#[test]
fn bad_addresses_and_credentials_are_told_before_anything_begins() {
    let wrong_password = server().amqp_url().replace("guest:guest", "guest:wr0ng");
    for (url, words) in [
        (wrong_password.as_str(), "check user, password"),
        ("amqp://guest:guest@127.0.0.1:1/%2f", "not available"),
        ("amqp://guest:guest@no-such-host.invalid/%2f", "not available"),
        ("http://127.0.0.1", "not an AMQP URL"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ms2m")).args(["demo", "--broker", url]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{url}: {told}");
        assert!(told.contains(words) && !told.contains("wr0ng"), "{url}: {told}");
        assert!(output.stdout.is_empty());
    }
}
