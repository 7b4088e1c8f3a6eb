//! `ms2m doctor` as its users run it. What it finds differs from machine to machine; how it tells it does not.

use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ms2m")).arg("doctor").args(arguments).output().expect("the program")
}

#[test]
fn every_line_has_a_result_and_the_status_follows_from_them() {
    let output = doctor(&["--output", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let checks = answer["checks"].as_array().expect("lines");
    for check in checks {
        assert!(["ok", "unknown", "warn", "fail"].contains(&check["result"].as_str().unwrap()), "{check}");
        assert!(check["result"] != "fail" || check["remedy"].is_string(), "{check}");
    }
    let failed = checks.iter().any(|check| check["result"] == "fail");
    assert_eq!((answer["result"] == "fail", output.status.code()), (failed, Some(failed.into())));
    for name in ["root", "kernel", "soft-dirty", "criu", "runc", "crun", "cgroups", "cpu", "work-dir", "network-lock"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}");
    }
}

#[test]
fn a_source_that_is_not_there_is_named() {
    for source in ["no-such-container", "999999999"] {
        let output = doctor(&["--source", source]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
        assert!(String::from_utf8_lossy(&output.stderr).contains(source));
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for arguments in [
        &["--source", "1", "--criu", "x"][..],
        &["--runtime-root", "/x"],
        &["--runtime", "podman"],
        &["--source", "1", "--against", "x"],
        &["--pod", "orders", "--source", "1"],
        &["--pod", "orders", "--criu", "x"],
        &["--to", "n1"],
        &["--context", "c"],
        &["--node", "n1", "--pod", "orders"],
        &["--node", "n1", "--namespace", "shop"],
        &["--node", "n1", "--work-dir", "/x"],
        &["--namespace", "shop"],
    ] {
        assert_eq!(doctor(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_checkpoint_that_is_none_fails() {
    let output = doctor(&["--against", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("/nonexistent"));
}
