//! On Docker's own registry, with TLS under a private authority and an account.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, ErrorKind, MigrationId, Part, TransferBackend as _, TransferJob};
use ms2m_testkit::certificates::Authority;
use ms2m_testkit::conformance;
use ms2m_testkit_registry::{Options, PASSWORD, RegistryServer, USER};
use ms2m_transfer_registry::{Credentials, Registry, RegistryOptions};
use rustls::crypto::aws_lc_rs;

/// A registry, its certificates, and what its clients must know.
struct Stage {
    server: RegistryServer,
    certificates: tempfile::TempDir,
}

impl Stage {
    fn start(no_delete: bool) -> Self {
        // Others in this process may have been first.
        let _ = aws_lc_rs::default_provider().install_default();
        let certificates = tempfile::tempdir().unwrap();
        let files = Authority::new().unwrap().issue(certificates.path(), "127.0.0.1").unwrap();
        let options = Options { tls: Some((files.certificate, files.key)), account: true, no_delete, address: None };
        Self { server: RegistryServer::start(&options).unwrap(), certificates }
    }

    fn repository(&self) -> String {
        format!("{}/ms2m/checkpoints", self.server.address())
    }

    fn options(&self) -> RegistryOptions {
        let ca = std::fs::read(self.certificates.path().join("ca.crt")).unwrap();
        // As in a Secret: `ms2m:checkpoint`.
        let json = format!(r#"{{"auths": {{"{}": {{"auth": "bXMybTpjaGVja3BvaW50"}}}}}}"#, self.server.address());
        RegistryOptions { ca_pem: Some(ca), credentials: Credentials::DockerConfigJson(json.into()), ..RegistryOptions::default() }
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.repository(), self.options()).unwrap()
    }

    /// How many uploads have not ended, and how many layers there are. (Of an upload that was removed this registry leaves the state of its
    /// hash, some hundred bytes.)
    fn remains(&self) -> (usize, usize) {
        let files = files(&self.server.data().join("docker/registry/v2/repositories"));
        let count = |folder: &str, name: &str| files.iter().filter(|path| path.contains(folder) && path.ends_with(name)).count();
        (count("/_uploads/", "/data"), count("/_layers/", "/link"))
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path.display().to_string()),
        }
    }
    found
}

fn job(name: &str, bytes: usize) -> TransferJob {
    TransferJob {
        migration: MigrationId::new(name).unwrap(),
        part: Part::Final,
        archive_bytes: bytes as u64,
        deadline: Duration::from_secs(60),
    }
}

fn noise(bytes: usize) -> Bytes {
    let mut state = 1_u64;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

fn body(bytes: &Bytes) -> ByteStream {
    let bytes = bytes.clone();
    let pieces = (0..bytes.len()).step_by(1 << 20).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + (1 << 20)))));
    Box::pin(stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let stage = Stage::start(false);
    conformance::transfer(async || Arc::new(stage.registry())).await;
    assert_eq!(stage.remains().0, 0, "no unfinished upload is left, whatever went wrong in there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_an_image_and_nothing_is_left_of_it() {
    let stage = Stage::start(false);
    let registry = stage.registry();
    let bytes = noise(20_000_000);
    let receipt = registry.send(&job("skopeo", bytes.len()), body(&bytes)).await.unwrap();
    assert_eq!((receipt.digest, receipt.transferred_bytes), (Digest::of(&bytes), bytes.len() as u64));
    let copy = tempfile::tempdir().unwrap();
    let skopeo = Command::new("skopeo")
        .args(["copy", "--insecure-policy", "--src-creds", &format!("{USER}:{PASSWORD}"), "--src-cert-dir"])
        // Not the server's own key and certificate, which it would show as a client.
        .arg(ca_alone(stage.certificates.path()))
        .arg(format!("docker://{}", receipt.location))
        .arg(format!("dir:{}", copy.path().display()))
        .output()
        .unwrap();
    assert!(skopeo.status.success(), "{skopeo:?}");
    let layer = copy.path().join(receipt.digest.to_string().trim_start_matches("sha256:"));
    assert!(std::fs::read(layer).unwrap() == bytes, "skopeo gets the layer unchanged, by the receipt's location");
    registry.discard(&receipt.migration).await.unwrap();
    assert_eq!(stage.remains(), (0, 0));
}

fn ca_alone(certificates: &Path) -> std::path::PathBuf {
    let folder = certificates.join("ca");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(certificates.join("ca.crt"), folder.join("ca.crt")).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_given_up_leaves_nothing() {
    let stage = Stage::start(false);
    let registry = stage.registry();
    let bytes = noise(30_000_000);
    let stalls = || -> ByteStream { Box::pin(body(&bytes).take(20).chain(std::future::pending().into_stream())) };
    // Dropped in the middle.
    let (job, short) = (job("given-up", bytes.len()), TransferJob { deadline: Duration::from_secs(1), ..job("given-up", bytes.len()) });
    let dropped = tokio::time::timeout(Duration::from_secs(1), registry.send(&job, stalls())).await;
    assert!(dropped.is_err());
    let error = registry.send(&short, stalls()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    for _ in 0..100 {
        if stage.remains() == (0, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?} files of uploads and layers are left", stage.remains());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_another_repository_is_adopted() {
    let stage = Stage::start(false);
    let bytes = noise(3_000_000);
    let elsewhere = Registry::new(&format!("{}/elsewhere", stage.server.address()), stage.options()).unwrap();
    let there = elsewhere.send(&job("there", bytes.len()), body(&bytes)).await.unwrap();
    let registry = stage.registry();
    let job = job("here", bytes.len());
    let receipt = registry.adopt(&job, there.digest, "elsewhere").await.unwrap().expect("the registry mounts");
    assert_eq!(receipt.transferred_bytes, 0);
    let read = registry.open(&receipt, 0).await.unwrap().map(|piece| piece.unwrap()).collect::<Vec<_>>().await.concat();
    assert!(read == bytes);
    assert!(registry.adopt(&job, Digest::of(b"nothing"), "elsewhere").await.unwrap().is_none());
    assert_eq!(stage.remains().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_is_told() {
    let stage = Stage::start(true);
    let registry = stage.registry();
    let bytes = noise(100_000);
    let receipt = registry.send(&job("kept", bytes.len()), body(&bytes)).await.unwrap();
    let error = registry.discard(&receipt.migration).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("storage.delete.enabled") && error.to_string().contains("manifests/sha256:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_enter_is_told_what_to_do() {
    let stage = Stage::start(false);
    let bytes = noise(1000);
    let wrong = Credentials::Password { user: USER.into(), password: "wrong".into() };
    let cases = [
        ("a wrong password", RegistryOptions { credentials: wrong, ..stage.options() }, "docker login"),
        ("no password", RegistryOptions { credentials: Credentials::Anonymous, ..stage.options() }, "docker login"),
        ("an unknown authority", RegistryOptions { ca_pem: None, ..stage.options() }, "certificate of its CA"),
        ("no TLS", RegistryOptions { plain_http: true, ..stage.options() }, "HTTP request to an HTTPS server"),
    ];
    for (what, options, advice) in cases {
        let registry = Registry::new(&stage.repository(), options).unwrap();
        let error = registry.send(&job("nobody", bytes.len()), body(&bytes)).await.unwrap_err();
        println!("{what:22} {error}");
        assert!(error.to_string().contains(advice), "{what}: {error}");
        assert!(!error.to_string().contains("wrong\""), "{what}: {error}");
    }
    assert_eq!(stage.remains(), (0, 0));
}
