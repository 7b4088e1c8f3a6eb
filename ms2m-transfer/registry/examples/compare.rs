//! Registry push and pull side by side, in one run, on Docker's own registry: a bare upload by curl (the registry's own bound), this crate,
//! skopeo. Every run is printed.
//!
//! `cargo run --release -p ms2m-transfer-registry --features service-tests --example compare -- [MIB] [ROUNDS]`, with `docker-registry`,
//! `curl` and `skopeo` installed. This crate runs in a process of its own, whose peak memory is printed too.

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, MigrationId, Part, Receipt, TransferBackend as _, TransferJob};
use ms2m_testkit_registry::{Options, RegistryServer};
use ms2m_transfer_registry::{Credentials, Registry, RegistryOptions};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

type Anyhow<T> = Result<T, Box<dyn Error>>;

fn main() -> Anyhow<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["push", repository, file] => tokio::runtime::Runtime::new()?.block_on(push(repository, Path::new(file))),
        ["pull", repository, digest, bytes] => tokio::runtime::Runtime::new()?.block_on(pull(repository, digest.parse()?, bytes.parse()?)),
        sizes => compare(sizes.first().map_or(Ok(256), |n| n.parse())?, sizes.get(1).map_or(Ok(5), |n| n.parse())?),
    }
}

fn compare(mib: u64, rounds: usize) -> Anyhow<()> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let (file, bytes) = (folder.path().join("archive"), mib << 20);
    let digest = write_noise(&file, mib)?;
    println!("{mib} MiB of noise, {rounds} rounds; each push goes to a fresh registry");
    for round in 1..=rounds {
        let mut server = RegistryServer::start(&Options::default())?;
        let base = format!("http://{}/v2/bare", server.address());
        let begun = Instant::now();
        curl_push(&base, &file, digest)?;
        let push = begun.elapsed();
        let begun = Instant::now();
        run(Command::new("curl").args(["-sfo", "/dev/null", &format!("{base}/blobs/{digest}")]))?;
        let pull = begun.elapsed();
        let begun = Instant::now();
        run(Command::new("sh").arg("-c").arg(format!("curl -sf {base}/blobs/{digest} | openssl dgst -sha256")))?;
        let checked = format!("  pull with its digest by openssl {:.3} s", begun.elapsed().as_secs_f64());
        report(round, "curl", push, pull, bytes, &checked);

        server = RegistryServer::start(&Options::default())?;
        let repository = format!("{}/ours", server.address());
        let (push, pushed) = ourselves(&["push", &repository, &file.display().to_string()])?;
        let (pull, pulled) = ourselves(&["pull", &repository, &digest.to_string(), &bytes.to_string()])?;
        report(round, "ms2m", push, pull, bytes, &format!("  peak memory {pushed} kB pushing, {pulled} kB pulling"));

        let image = folder.path().join("image");
        let from = format!("docker://{repository}:{}", mine(digest));
        let begun = Instant::now();
        run(Command::new("skopeo").args([
            "copy",
            "-q",
            "--insecure-policy",
            "--src-tls-verify=false",
            &from,
            &format!("dir:{}", image.display()),
        ]))?;
        let pull = begun.elapsed();
        server = RegistryServer::start(&Options::default())?;
        let to = format!("docker://{}/theirs:x", server.address());
        let begun = Instant::now();
        let from = format!("dir:{}", image.display());
        run(Command::new("skopeo").args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", &from, &to]))?;
        report(round, "skopeo", begun.elapsed(), pull, bytes, "");
        std::fs::remove_dir_all(&image)?;
    }
    Ok(())
}

fn report(round: usize, who: &str, push: Duration, pull: Duration, bytes: u64, more: &str) {
    let rate = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e6;
    let (pushed, pulled) = (rate(push), rate(pull));
    println!(
        "{round:3}  {who:7} push {:7.3} s {pushed:6.0} MB/s   pull {:7.3} s {pulled:6.0} MB/s{more}",
        push.as_secs_f64(),
        pull.as_secs_f64()
    );
}

/// As little as an upload can be: the digest is known before.
fn curl_push(base: &str, file: &Path, digest: Digest) -> Anyhow<()> {
    let begun = run(Command::new("curl").args(["-sfi", "-X", "POST", "-H", "Content-Length: 0", &format!("{base}/blobs/uploads/")]))?;
    let place =
        |answer: &str| answer.lines().find_map(|line| Some(line.strip_prefix("Location: ")?.trim().to_owned())).ok_or("no Location");
    let patch = Command::new("curl")
        .args([
            "-sfi",
            "-X",
            "PATCH",
            "-H",
            "Content-Type: application/octet-stream",
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Expect:",
            "-T",
        ])
        .arg(file)
        .arg(place(&begun)?)
        .output()?;
    let last = place(&String::from_utf8_lossy(&patch.stdout))?;
    run(Command::new("curl").args(["-sf", "-X", "PUT", "-H", "Content-Length: 0", &format!("{last}&digest={digest}")]))?;
    Ok(())
}

/// This program again. How long it worked and its peak memory in kB, in its own words: its start does not count, as the library has none.
fn ourselves(words: &[&str]) -> Anyhow<(Duration, u64)> {
    let said = run(Command::new(std::env::current_exe()?).args(words))?;
    let mut words = said.split_whitespace();
    let mut next = || words.next().ok_or("said nothing");
    Ok((Duration::from_micros(next()?.parse()?), next()?.parse()?))
}

fn run(command: &mut Command) -> Anyhow<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {output:?}").into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn registry(repository: &str) -> Anyhow<Registry> {
    let options = RegistryOptions { plain_http: true, credentials: Credentials::Anonymous, ..RegistryOptions::default() };
    Ok(Registry::new(repository, options)?)
}

fn migration() -> Anyhow<MigrationId> {
    Ok(MigrationId::new("compare")?)
}

fn mine(digest: Digest) -> String {
    format!("compare.final.{}", &digest.to_string()["sha256:".len()..][..16])
}

async fn push(repository: &str, file: &Path) -> Anyhow<()> {
    let (registry, archive_bytes) = (registry(repository)?, file.metadata()?.len());
    let begun = Instant::now();
    let job = TransferJob { migration: migration()?, part: Part::Final, archive_bytes, deadline: Duration::from_secs(600) };
    registry.send(&job, read(File::open(file)?)).await?;
    say(begun)
}

async fn pull(repository: &str, digest: Digest, archive_bytes: u64) -> Anyhow<()> {
    let registry = registry(repository)?;
    let begun = Instant::now();
    let receipt =
        Receipt { migration: migration()?, part: Part::Final, digest, archive_bytes, transferred_bytes: 0, location: String::new() };
    let mut stream = registry.open(&receipt, 0).await?;
    while let Some(piece) = stream.next().await {
        std::hint::black_box(piece?);
    }
    say(begun)
}

fn say(begun: Instant) -> Anyhow<()> {
    let took = begun.elapsed().as_micros();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()).ok_or("no VmHWM")?;
    println!("{took} {peak}");
    Ok(())
}

fn read(mut file: File) -> ByteStream {
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = BytesMut::zeroed(1 << 20);
            let Ok(bytes) = file.read(&mut piece) else { return };
            piece.truncate(bytes);
            if bytes == 0 || sender.blocking_send(Ok(piece.freeze())).is_err() {
                return;
            }
        }
    });
    Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

fn write_noise(path: &Path, mib: u64) -> Anyhow<Digest> {
    let (mut file, mut hash, mut state) = (File::create(path)?, Sha256::new(), 1_u64);
    let mut piece = vec![0_u8; 1 << 20];
    for _ in 0..mib {
        for word in piece.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        file.write_all(&piece)?;
        hash.update(&piece);
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}
