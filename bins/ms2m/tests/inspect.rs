//! `ms2m inspect` as a user runs it.

use std::process::{Command, Output};

use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ms2m-criu/tests/fixtures");

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ms2m")).arg("inspect").args(arguments).env_remove("RUST_LOG").output().unwrap()
}

#[test]
fn an_archive_is_told_as_text_and_as_json() {
    let archive = format!("{FIXTURES}/podman.tar.zst");
    let output = inspect(&[&archive]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(text.contains("podman, archive, zstd") && text.contains("[1] subject") && text.contains("Verdict: "), "{text}");

    let output = inspect(&[&archive, "--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["engine"], &json["containers"][0]["name"]), (Some(0), &"podman".into(), &"subject".into()));
    assert!(json["checks"].as_array().unwrap().iter().all(|check| check["name"].is_string() && check["reason"].is_string()));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("index.json");
    std::fs::write(&layout, "{}").unwrap();
    for (path, words) in [(home.path(), "OCI layout"), (layout.as_path(), "well-formed"), (&home.path().join("absent"), "No such file")] {
        let output = inspect(&[path.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("ms2m: ") && output.stdout.is_empty(), "{error}");
        // Two bytes are less than a header, so either rule may speak first.
        assert!(error.contains(words) || error.contains("rule complete"), "{error}");
    }
    assert_eq!(inspect(&[]).status.code(), Some(2));
}
