//! Archives go into the stores of a containerd and of a CRI-O, and out again. As root.

#[path = "../../ms2m-oci/tests/tools_exchange/containerd.rs"]
mod containerd;
#[path = "../../ms2m-oci/tests/tools_exchange/tool.rs"]
#[allow(dead_code, reason = "shared")]
mod tool;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd::Containerd as Server;
use ms2m_core::{Digest, DigestAlgorithm, ErrorKind, MigrationId};
use ms2m_image_store::{Archive, Containerd, ContainerdOptions, CriO, CriOOptions, ImageStore, image_name};
use tempfile::TempDir;

/// A real archive of containerd, and its home.
struct Fixture {
    home: TempDir,
    path: PathBuf,
    digest: Digest,
    bytes: u64,
}

impl Fixture {
    fn new() -> Self {
        let packed = fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../ms2m-criu/tests/fixtures/containerd.tar.gz")).unwrap();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut tar).unwrap();
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("archive.tar");
        fs::write(&path, &tar).unwrap();
        Self { path, digest: DigestAlgorithm::Blake3.of(&tar), bytes: tar.len() as u64, home }
    }

    fn archive(&self, migration: &str) -> Archive {
        Archive::open(&self.path, &MigrationId::new(migration).unwrap(), self.digest, self.bytes).unwrap().expect("of an engine")
    }
}

/// What every store has to do; `holds` asks it by other means.
async fn keeps_the_contract(store: &dyn ImageStore, fixture: &Fixture, holds: impl Fn(&str) -> bool) {
    store.check().await.unwrap();
    let (first, second) = (fixture.archive("orders-7"), fixture.archive("latest"));
    assert_eq!(first.image_name(), image_name(&MigrationId::new("orders-7").unwrap(), fixture.digest));
    assert!(!holds(first.image_name()));
    store.remove(first.image_name()).await.unwrap();
    store.load(&first).await.unwrap();
    assert!(holds(first.image_name()));
    // Twice at the same time, once more, and another migration's beside it.
    let (one, other, beside) = tokio::join!(store.load(&first), store.load(&first), store.load(&second));
    one.and(other).and(beside).unwrap();
    assert!(holds(second.image_name()));
    store.remove(first.image_name()).await.unwrap();
    assert!(!holds(first.image_name()) && holds(second.image_name()));
    store.remove(second.image_name()).await.unwrap();
    store.remove(second.image_name()).await.unwrap();
    assert!(!holds(second.image_name()));
}

fn options(fixture: &Fixture) -> ContainerdOptions {
    // Of overlays nothing can be asked on every disk.
    let socket = fixture.home.path().join("containerd/socket");
    ContainerdOptions { socket, snapshotter: Some("native".into()), ..ContainerdOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_gets_the_image_and_gives_it_up() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.home.path().join("containerd"));
    let store = Containerd::new(options(&fixture));
    let list = || server.ctr(&["--namespace", "k8s.io", "images", "list"]);
    keeps_the_contract(&store, &fixture, |name| list().lines().any(|line| line.split_whitespace().next() == Some(name))).await;
    assert_eq!(server.ctr(&["--namespace", "k8s.io", "content", "list", "--quiet"]), "", "the bytes have gone, too");

    // What its CRI looks at to know a checkpoint, and which pods name it: the manifest, unchanged.
    store.load(&fixture.archive("m")).await.unwrap();
    let listed = list();
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    let manifest = server.ctr(&["--namespace", "k8s.io", "content", "get", digest]);
    let layer = Digest::of(&fs::read(&fixture.path).unwrap());
    assert!(manifest.contains("org.criu.checkpoint.container.name") && manifest.contains(&layer.to_string()), "{manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containerd_does_not_take_leaves_nothing_and_says_what_to_do() {
    let fixture = Fixture::new();
    let nobody = Containerd::new(ContainerdOptions { within: Duration::from_secs(30), ..options(&fixture) });
    let error = nobody.load(&fixture.archive("m")).await.unwrap_err();
    assert!(error.to_string().contains("does containerd run"), "{error}");

    let server = Server::start(&fixture.home.path().join("containerd"));
    let store = Containerd::new(options(&fixture));
    let archive = fixture.archive("m");
    // Of the same size, with other bytes: the digest is wrong.
    let mut bytes = fs::read(&fixture.path).unwrap();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    fs::write(&fixture.path, &bytes).unwrap();
    let error = store.load(&archive).await.unwrap_err();
    assert!(error.to_string().contains("sha256:"), "{error}");
    fs::write(&fixture.path, &bytes[..bytes.len() / 2]).unwrap();
    store.load(&archive).await.unwrap_err();
    assert_eq!(server.ctr(&["--namespace", "k8s.io", "images", "list", "--quiet"]), "");

    let hurried = Containerd::new(ContainerdOptions { within: Duration::ZERO, ..options(&fixture) });
    assert_eq!(hurried.load(&archive).await.unwrap_err().kind(), ErrorKind::Timeout);
}

fn cri_o(fixture: &Fixture) -> (CriO, String) {
    let home = fixture.home.path();
    let storage = format!("vfs@{}+{}", home.join("storage").display(), home.join("run").display());
    let options = CriOOptions { storage: Some(storage.clone()), scratch: home.join("scratch"), within: Duration::from_secs(120) };
    (CriO::new(options).unwrap(), storage)
}

fn empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn cri_o_gets_the_image_and_gives_it_up() {
    let fixture = Fixture::new();
    let (store, storage) = cri_o(&fixture);
    let holds = |name: &str| {
        let reference = format!("containers-storage:[{storage}]{name}");
        std::process::Command::new("skopeo").args(["inspect", "--raw", &reference]).output().unwrap().status.success()
    };
    keeps_the_contract(&store, &fixture, holds).await;
    assert!(empty(&fixture.home.path().join("scratch")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cri_o_cannot_take_leaves_nothing_and_says_what_to_do() {
    let fixture = Fixture::new();
    let (store, _) = cri_o(&fixture);
    let archive = fixture.archive("m");
    let mut bytes = fs::read(&fixture.path).unwrap();
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    fs::write(&fixture.path, bytes).unwrap();
    let error = store.load(&archive).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(empty(&fixture.home.path().join("scratch")));
    // What a process that was killed has left.
    fs::write(fixture.home.path().join("scratch/left"), "").unwrap();
    cri_o(&fixture);
    assert!(empty(&fixture.home.path().join("scratch")));
}
