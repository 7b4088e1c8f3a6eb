//! `ms2m agent` as a user runs it, against an agent that is a process of its own.

#[path = "../criu_transfer/agent.rs"]
mod agent;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::agent::{Agent, TARGET};

fn ms2m(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ms2m")).args(words).env_remove("RUST_LOG").output().unwrap()
}

/// What it says of `ms2m agent WORDS` when it succeeds.
fn told(agent: &Agent, words: &[&str], output: &str) -> String {
    let words = [&["agent"], words, &["--node", TARGET, "--credentials", agent.client(), "--output", output]].concat();
    let answer = ms2m(&words);
    assert!(answer.status.success(), "{words:?}: {}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap()
}

fn json(agent: &Agent, words: &[&str]) -> Value {
    serde_json::from_str(&told(agent, words, "json")).unwrap()
}

/// It must fail, with these words.
fn refused(words: &[&str], status: i32, says: &str) {
    let answer = ms2m(&[&["agent"], words].concat());
    let error = String::from_utf8(answer.stderr).unwrap();
    assert_eq!((answer.status.code(), answer.stdout.len()), (Some(status), 0), "{words:?}: {error}");
    assert!(error.contains(says), "{words:?}: {error}");
}

fn send(agent: &Agent, home: &Path, migration: &str, bytes: usize) {
    let archive = home.join("archive.tar");
    std::fs::write(&archive, vec![7; bytes]).unwrap();
    let words = ["transfer", archive.to_str().unwrap(), &agent.url, migration, "--node", TARGET, "--credentials", agent.client()];
    let answer = ms2m(&words);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
}

#[test]
fn a_person_sees_what_an_agent_holds_and_has_it_discarded() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let url = agent.url.as_str();
    assert_eq!(json(&agent, &["list", url]), serde_json::json!([]));
    assert!(told(&agent, &["list", url], "text").contains("holds nothing"));
    for (migration, bytes) in [("orders-7", 100_000), ("orders-8", 200_000)] {
        send(&agent, home.path(), migration, bytes);
    }
    let status = json(&agent, &["status", url]);
    assert_eq!((&status["ready"], &status["version"]), (&true.into(), &env!("CARGO_PKG_VERSION").into()), "{status}");
    assert_eq!((&status["parts"], &status["parts_bytes"]), (&2.into(), &300_000.into()), "{status}");
    assert!(status["free_bytes"].as_u64().unwrap() > 0 && status["transfers_open"] == 0, "{status}");
    let text = told(&agent, &["status", url], "text");
    assert!(text.contains("ready") && text.contains("2 parts") && text.contains(env!("CARGO_PKG_VERSION")), "{text}");

    let listed = json(&agent, &["list", url]);
    assert_eq!((&listed[0]["migration"], &listed[1]["archive_bytes"]), (&"orders-7".into(), &200_000.into()), "{listed}");
    assert!(told(&agent, &["list", url], "text").lines().nth(1).unwrap().starts_with("orders-8  final "));

    assert_eq!(json(&agent, &["discard", url, "orders-7"]), serde_json::json!({ "discarded": "orders-7" }));
    assert_eq!(json(&agent, &["list", url]).as_array().unwrap().len(), 1);
    // Once more is fine.
    told(&agent, &["discard", url, "orders-7"], "text");
    told(&agent, &["discard", url, "orders-8"], "text");
    agent.keeps_nothing();
}

#[test]
fn who_may_not_or_errs_is_told_what_to_do() {
    let agent = Agent::start();
    let url = agent.url.as_str();
    // The node's own certificate is a good one, of nobody whom the agent knows.
    let stranger = Path::new(agent.client()).with_file_name(TARGET).display().to_string();
    for what in [&["status", url][..], &["list", url], &["discard", url, "m"]] {
        refused(&[what, &["--node", TARGET, "--credentials", &stranger]].concat(), 1, "does not know the peer");
        refused(&[what, &["--node", "another", "--credentials", agent.client()]].concat(), 1, "another");
        refused(&[what, &["--credentials", "/nonexistent"]].concat(), 1, "/nonexistent");
    }
    refused(&["status", "http://127.0.0.1:1", "--credentials", agent.client()], 1, "https://HOST");
    refused(&["status", "https://127.0.0.1:1", "--credentials", agent.client()], 1, "cannot be reached");
    refused(&["discard", url, "../x"], 2, "../x");
    refused(&["status"], 2, "URL");
    refused(&[], 2, "Usage");
}
