//! `ms2m pack` as a user runs it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use ms2m_oci::{Layout, Limits};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ms2m-criu/tests/fixtures");

fn ms2m(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ms2m"));
    command.arg("pack").args(arguments).env_remove("RUST_LOG");
    command
}

fn pack(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = ms2m(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A checkpoint that containerd has written, as the kubelet leaves it.
fn archive(home: &TempDir) -> PathBuf {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(File::open(format!("{FIXTURES}/containerd.tar.gz")).unwrap()).read_to_end(&mut plain).unwrap();
    let path = home.path().join("checkpoint.tar");
    fs::write(&path, plain).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_archive_becomes_an_image_with_its_facts() {
    let home = tempfile::tempdir().unwrap();
    let (archive, layout) = (archive(&home), home.path().join("layout"));
    let to = format!("oci:{}:mig-1", layout.display());
    let (code, stdout, stderr) = pack(&[archive.to_str().unwrap(), "--to", &to, "--output", "json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["tag"], &told["added"], &told["archive_bytes"]),
        (&"mig-1".into(), &true.into(), &fs::metadata(&archive).unwrap().len().into())
    );

    let opened = Layout::open(&layout, &Limits::default()).unwrap();
    let checkpoint = opened.checkpoint(Some("mig-1")).unwrap();
    assert_eq!(told["manifest"], checkpoint.digest().to_string());
    let facts = checkpoint.annotations();
    assert_eq!(facts["org.criu.checkpoint.engine.name"], "containerd");
    for name in ["container.name", "rootfsImageName", "criu.version", "host.arch", "host.kernel"] {
        assert!(!facts[&format!("org.criu.checkpoint.{name}")].is_empty(), "{facts:?}");
    }
    let back = home.path().join("back.tar");
    checkpoint.extract(&back, true, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(fs::read(back).unwrap() == fs::read(&archive).unwrap());

    let (code, stdout, stderr) = pack(&[archive.to_str().unwrap(), "--to", &to]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("was there already") && stdout.contains("sha256:"), "{stdout}");
    let (code, stdout, _) = pack(&[archive.to_str().unwrap(), "--to", &format!("oci:{}", layout.display()), "--compress", "zstd"]);
    assert!(code == Some(0) && stdout.contains("compressed to") && stdout.contains(":sha256-"), "{stdout}");
    assert_eq!(Layout::open(&layout, &Limits::default()).unwrap().tags().count(), 2);
}

#[test]
fn what_is_no_archive_is_refused_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let to = format!("oci:{}", layout.display());
    let text = home.path().join("text.tar");
    fs::write(&text, "x".repeat(4096)).unwrap();
    // A tar with a link in it: no engine writes one.
    let hostile = home.path().join("hostile.tar");
    let mut builder = tar::Builder::new(File::create(&hostile).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "config.dump", "/etc/passwd").unwrap();
    builder.into_inner().unwrap();
    let gzip = format!("{FIXTURES}/containerd.tar.gz");
    let zstd = format!("{FIXTURES}/podman.tar.zst");
    let before = names(home.path());
    for (archive, words) in [
        (text.to_str().unwrap(), "no tar"),
        (hostile.to_str().unwrap(), "files-and-directories-only"),
        (&gzip, "gunzip"),
        (&zstd, "zstd -d"),
        (home.path().to_str().unwrap(), "no checkpoint"),
        ("/nonexistent", "No such file"),
    ] {
        let (code, stdout, stderr) = pack(&[archive, "--to", &to]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{archive}");
        assert!(stderr.starts_with("ms2m: ") && stderr.contains(words), "{archive}: {stderr}");
        assert_eq!(names(home.path()), before, "{archive}");
    }
    for bad in ["layout", "oci:", "oci:layout:latest", "docker://registry/image"] {
        let (code, stdout, stderr) = pack(&[text.to_str().unwrap(), "--to", bad]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{bad}: {stderr}");
    }
    assert_eq!(pack(&[text.to_str().unwrap()]).0, Some(2));
}

#[test]
fn a_signal_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("large.tar");
    let mut file = File::create(&archive).unwrap();
    // Its pages are a hole of a size that takes longer than this test waits.
    for (name, content, bytes) in [("config.dump", &b"{}"[..], 2), ("spec.dump", b"{}", 2), ("checkpoint/pages-1.img", b"", 64 << 30)] {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(bytes);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(content).unwrap();
        let end = file.stream_position().unwrap() - content.len() as u64 + bytes;
        file.seek(SeekFrom::Start(end.next_multiple_of(512))).unwrap();
    }
    let end = file.stream_position().unwrap() + 1024;
    file.set_len(end).unwrap();
    let to = format!("oci:{}", home.path().join("layout").display());
    let child = ms2m(&[archive.to_str().unwrap(), "--to", &to]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has begun when it has a place to put the image together.
    while names(home.path()).len() < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(100));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.contains("stopped on request"), "{stderr}");
    assert_eq!(names(home.path()), ["large.tar"]);
}
