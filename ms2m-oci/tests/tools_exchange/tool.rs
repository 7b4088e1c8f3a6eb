//! Runs a tool.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Its standard output; a panic with its complaint when it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments))
}

pub(crate) fn umoci(arguments: &[&str]) -> String {
    run(Command::new("umoci").args(arguments))
}

/// With a storage of its own, which needs no overlay, and beside it as its working directory: it makes names of paths, and those have to be
/// in lower case.
pub(crate) fn buildah(storage: &Path, arguments: &[&str]) -> String {
    fs::create_dir_all(storage).unwrap();
    let policy = storage.join("policy.json");
    fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let mut command = Command::new("buildah");
    command.current_dir(storage.parent().unwrap());
    command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run")).args(["--storage-driver", "vfs"]);
    command.arg(arguments[0]);
    if ["pull", "push", "from", "commit"].contains(&arguments[0]) {
        command.arg("--signature-policy").arg(&policy);
    }
    run(command.args(&arguments[1..]))
}
