//! `ms2m demo` inside one process: as a user runs it.

use std::process::{Command, Output};

use serde_json::Value;

fn ms2m(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ms2m")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn demo(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = ms2m(&[&["demo", "--output", "json"], arguments].concat());
    (output.status.code(), json(&output))
}

#[test]
fn the_default_demo_is_exact_and_reads_well() {
    let output = ms2m(&["demo"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in ["4 publishers sent 600 messages", "moved 3 times", "exactly once, in order: lost 0, doubled 0, reordered 0", "█"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn reports_have_their_shape() {
    let (code, result) = demo(&["--migrations", "2", "--messages", "200", "--clock", "simulated"]);
    assert_eq!(code, Some(0));
    assert_eq!(result["summary"]["clock"], "simulated");
    assert_eq!((&result["summary"]["migrations"], &result["summary"]["exact"]), (&2.into(), &true.into()));
    for report in result["migrations"].as_array().unwrap() {
        assert_eq!((&report["outcome"], &report["protocol"]), (&"completed".into(), &"journal".into()));
        assert_eq!(report["ledger"]["digest_source"], report["ledger"]["digest_target"]);
        assert!(report["durations_ms"]["cutover_gap"].is_number() && report["durations_ms"]["added_latency"].is_number());
        assert_eq!(report["timeline"].as_array().unwrap().len(), 8);
    }
}

#[test]
fn every_queue_type_and_mode_is_exact() {
    let queues = [
        &["--queue-type", "classic"][..],
        &["--queue-type", "classic", "--single-active-consumer"],
        &["--queue-type", "quorum"],
        &["--queue-type", "quorum", "--single-active-consumer"],
        &["--queue-type", "stream"],
    ];
    for queue in queues {
        for mode in ["chase", "hold"] {
            let common = ["--migrations", "8", "--clock", "simulated", "--service-us", "10000", "--mode", mode];
            let (code, result) = demo(&[&common[..], queue].concat());
            assert_eq!((code, &result["summary"]["completed"]), (Some(0), &8.into()), "{queue:?} {mode}: {:#}", result["summary"]);
        }
    }
}

#[test]
fn faults_cost_time_but_no_message() {
    for seed in ["1", "2"] {
        let (code, result) = demo(&["--migrations", "200", "--faults", "random", "--seed", seed]);
        let summary = &result["summary"];
        assert_eq!((code, &summary["exact"]), (Some(0), &true.into()), "{summary:#}");
        assert_eq!((&summary["lost"], &summary["doubled"], &summary["reordered"]), (&0.into(), &0.into(), &0.into()));
        assert_eq!((&summary["migrations"], &summary["failed"]), (&200.into(), &0.into()), "{summary:#}");
        assert!(summary["completed"].as_u64() > Some(150), "{summary:#}");
    }
}

#[test]
fn the_mirror_scheme_is_caught() {
    let (code, result) = demo(&["--scheme", "mirror", "--service-us", "10000", "--clock", "simulated"]);
    let summary = &result["summary"];
    assert_eq!((code, &summary["exact"]), (Some(4), &false.into()), "{summary:#}");
    let found: u64 = ["lost", "doubled", "reordered"].iter().map(|name| summary[name].as_u64().unwrap()).sum();
    assert!(found > 0, "{summary:#}");
    assert_eq!(result["migrations"][0]["protocol"], "mirror");
}

#[test]
fn bad_usage_is_told_apart() {
    for arguments in [
        &["demo", "--no-such-option"][..],
        &["demo", "--publishers", "0"],
        &["demo", "--queue-type", "stream", "--single-active-consumer"],
        &["demo", "--scheme", "offset"],
        &["demo", "--scheme", "mirror", "--faults", "random"],
        &["demo", "--state-dir", "somewhere"],
        &["unheard-of"],
        &[],
    ] {
        let output = ms2m(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_completions_name_what_there_is() {
    let help = String::from_utf8(ms2m(&["--help"]).stdout).unwrap();
    assert!(help.contains("demo") && !help.contains("demo-consumer"), "{help}");
    let completions = ms2m(&["completions", "bash"]);
    assert_eq!(completions.status.code(), Some(0));
    assert!(String::from_utf8(completions.stdout).unwrap().contains("--service-us"));
}
