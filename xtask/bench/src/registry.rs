//! An archive goes into Docker's own registry and comes back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use ms2m_core::Receipt;
use ms2m_testkit_registry::{Options, RegistryServer};
use ms2m_transfer_sealed::Key;

use crate::archive::Archive;
use crate::board::{Board, Role};
use crate::measure::{Taken, output, run};
use crate::stage::Stage;

pub(crate) fn compare(stage: &Stage, archive: &Archive) -> Result<()> {
    if !stage.has("docker-registry") {
        return Ok(());
    }
    let [curl, skopeo] = ["curl", "skopeo"].map(|tool| stage.has(tool));
    let board = |what: &str| archive.bytes().map(|bytes| Board::new(format!("registry {what}, {}", archive.size), bytes));
    let (mut push, mut pull) = (board("push")?, board("pull")?);
    let key_file = stage.home().join("key");
    let key = Key::generate();
    key.save(&key_file)?;
    for _ in 0..stage.runs {
        let directory = stage.fresh()?;
        // Each push goes to a registry that has nothing yet.
        let server = start()?;
        let (pushed, receipt) = send(stage, archive, server.address(), &["--unsealed"])?;
        push.add("ms2m transfer --unsealed", Role::Ours, Ok(pushed))?;
        pull.add("ms2m, digest checked", Role::Ours, fetch(server.address(), &receipt, None))?;
        let image = directory.join("image");
        if skopeo {
            let from = format!("docker://{}", receipt.location);
            pull.add("skopeo copy", Role::Rival, skopeo_copy(&["--src-tls-verify=false", &from, &dir(&image)]))?;
        }
        let digest = receipt.digest.to_string();
        drop(server);
        if curl {
            let server = start()?;
            let base = format!("http://{}/v2/bare", server.address());
            push.add("curl, bare upload", Role::Bound, curl_push(&base, &archive.path, &digest))?;
            let blob = format!("{base}/blobs/{digest}");
            pull.add("curl, bare download", Role::Bound, run(Command::new("curl").args(["-sfo", "/dev/null", &blob])))?;
            let checked = format!("curl -sf {blob} | sha256sum");
            pull.add("curl | sha256sum", Role::Rival, run(Command::new("sh").args(["-c", &checked])))?;
        }
        if skopeo && image.exists() {
            let server = start()?;
            let to = format!("docker://{}:bench", repository(server.address()));
            push.add("skopeo copy", Role::Rival, skopeo_copy(&["--dest-tls-verify=false", &dir(&image), &to]))?;
        }
        let server = start()?;
        let (pushed, receipt) = send(stage, archive, server.address(), &["--recipient", &key.recipient().to_string()])?;
        push.add("ms2m transfer, sealed", Role::Variant, Ok(pushed))?;
        pull.add("ms2m, digest checked, sealed", Role::Variant, fetch(server.address(), &receipt, Some(&key_file)))?;
    }
    std::fs::remove_file(key_file)?;
    print!("{push}{pull}");
    Ok(())
}

fn start() -> Result<RegistryServer> {
    rustix::fs::sync();
    RegistryServer::start(&Options::default()).context("the registry does not start")
}

fn send(stage: &Stage, archive: &Archive, registry: SocketAddr, how: &[&str]) -> Result<(Taken, Receipt)> {
    let mut command = stage.program("ms2m");
    command.arg("transfer").arg(&archive.path).args([&repository(registry), "bench", "--plain-http", "--output", "json"]).args(how);
    let (taken, said) = output(&mut command)?;
    Ok((taken, serde_json::from_str(&said)?))
}

fn repository(registry: SocketAddr) -> String {
    format!("{registry}/bench")
}

/// By this program in a process of its own: what restores an archive reads it through a library.
fn fetch(registry: SocketAddr, receipt: &Receipt, key: Option<&Path>) -> Result<Taken> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["pull", &repository(registry), &serde_json::to_string(receipt)?]);
    run(command.args(key.map(|_| "--key")).args(key))
}

fn dir(path: &Path) -> String {
    format!("dir:{}", path.display())
}

fn skopeo_copy(words: &[&str]) -> Result<Taken> {
    run(Command::new("skopeo").args(["copy", "--quiet", "--insecure-policy"]).args(words))
}

/// As little as an upload can be: the digest is known before.
fn curl_push(base: &str, file: &Path, digest: &str) -> Result<Taken> {
    let location = |answer: &str| -> Result<String> {
        let found = answer.lines().find_map(|line| Some(line.strip_prefix("Location: ")?.trim().to_owned()));
        found.with_context(|| format!("the registry does not say where to upload: {answer}"))
    };
    let curl = |method: &str, words: &[&str], url: &str| {
        output(Command::new("curl").args(["-sfi", "-X", method, "-H", "Expect:"]).args(words).arg(url))
    };
    let empty = ["-H", "Content-Length: 0"];
    let (begun, answer) = curl("POST", &empty, &format!("{base}/blobs/uploads/"))?;
    let body = ["-H", "Content-Type: application/octet-stream", "-H", "Transfer-Encoding: chunked", "-T", &file.display().to_string()];
    let (sent, answer) = curl("PATCH", &body, &location(&answer)?)?;
    let (ended, _) = curl("PUT", &empty, &format!("{}&digest={digest}", location(&answer)?))?;
    Ok(begun.and(sent).and(ended))
}
