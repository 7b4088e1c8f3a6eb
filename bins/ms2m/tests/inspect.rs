//! `ms2m inspect` as a user runs it.

use std::ops::ControlFlow;
use std::process::{Command, Output};

use ms2m_oci::{Facts, LayoutName, PackOptions};
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
fn an_image_in_a_layout_is_read_and_checked() {
    let home = tempfile::tempdir().unwrap();
    let (archive, directory) = (home.path().join("archive.tar"), home.path().join("layout"));
    let tar = Command::new("gzip").args(["-dc", &format!("{FIXTURES}/containerd.tar.gz")]).output().unwrap().stdout;
    std::fs::write(&archive, &tar).unwrap();
    let name: LayoutName = format!("oci:{}:m-1", directory.display()).parse().unwrap();
    let options = PackOptions { copy: true, ..PackOptions::default() };
    ms2m_oci::pack(&archive, &name, &Facts { container: "main".into(), ..Facts::default() }, &options, &mut |_| ControlFlow::Continue(()))
        .unwrap();

    for given in [directory.to_str().unwrap(), &name.to_string()] {
        let output = inspect(&[given]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert!(text.contains("containerd, OCI image") && text.contains("[1] subject") && text.contains("Verdict: "), "{text}");
    }

    let blobs = std::fs::read_dir(directory.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let output = inspect(&[directory.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("digest"), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("index.json");
    std::fs::write(&layout, "{}").unwrap();
    for (path, words) in [(home.path(), "index.json"), (layout.as_path(), "well-formed"), (&home.path().join("absent"), "No such file")] {
        let output = inspect(&[path.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("ms2m: ") && output.stdout.is_empty(), "{error}");
        // Two bytes are less than a header, so either rule may speak first.
        assert!(error.contains(words) || error.contains("rule complete"), "{error}");
    }
    assert_eq!(inspect(&[]).status.code(), Some(2));
}
