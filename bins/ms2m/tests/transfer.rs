//! `ms2m transfer` as a user runs it.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use ms2m_core::Digest;
use ms2m_testkit::certificates::Authority;
use ms2m_testkit::fake_registry::{Access, Census, FakeRegistry, Faults};
use ms2m_transfer_direct::agent::{AllowList, Kept, Limits, Store, StoreOptions};
use ms2m_transfer_direct::{Agent, Credentials};
use ms2m_transfer_sealed::Key;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

async fn transfer(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ms2m")).arg("transfer").args(words).env_remove("RUST_LOG").output().await.unwrap()
}

/// It must succeed; what it says.
async fn sent(words: &[&str]) -> Value {
    let output = transfer(&[words, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// It must fail, with these words and this status.
async fn refused(words: &[&str], status: i32, says: &str) {
    let output = transfer(words).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert!(error.contains(says) && output.stdout.is_empty(), "{error}");
}

fn archive(home: &Path) -> (String, Vec<u8>) {
    let tar = std::process::Command::new("gzip")
        .args(["-dc", concat!(env!("CARGO_MANIFEST_DIR"), "/../../ms2m-criu/tests/fixtures/containerd.tar.gz")])
        .output()
        .unwrap()
        .stdout;
    let path = home.join("checkpoint-orders.tar");
    std::fs::write(&path, &tar).unwrap();
    (path.to_str().unwrap().to_owned(), tar)
}

/// Whether the receipt has the digest of these bytes.
fn is_of(receipt: &serde_json::Value, bytes: &[u8]) -> bool {
    receipt["digest"].as_str().unwrap().parse::<Digest>().unwrap().is_of(bytes)
}

#[tokio::test]
async fn an_archive_goes_into_a_directory() {
    let home = tempfile::tempdir().unwrap();
    let (archive, bytes) = archive(home.path());
    let target = home.path().join("shared");
    let receipt = sent(&[&archive, target.to_str().unwrap(), "orders"]).await;
    assert!(is_of(&receipt, &bytes) && receipt["migration"] == "orders", "{receipt}");
    assert!(std::fs::read(receipt["location"].as_str().unwrap()).unwrap() == bytes);
    // By default it is called as the archive is.
    assert_eq!(sent(&[&archive, target.to_str().unwrap()]).await["migration"], "checkpoint-orders");
    refused(&["/nonexistent.tar", target.to_str().unwrap()], 1, "cannot be read").await;
    refused(&[&archive, target.to_str().unwrap(), "--bytes-per-second", "0"], 2, "--bytes-per-second").await;
}

#[tokio::test]
async fn an_archive_goes_to_an_agent() {
    let home = tempfile::tempdir().unwrap();
    let (archive, bytes) = archive(home.path());
    let authority = Authority::new().unwrap();
    for node in ["node-a", "node-b", "node-c"] {
        authority.issue(home.path().join(node), node).unwrap();
    }
    let store = Store::open(StoreOptions { free_bytes_min: 0, ..StoreOptions::new(home.path().join("incoming")) }).unwrap();
    let agent = Agent::new(store, Arc::new(AllowList::new(["node-a"])), Arc::new(Kept), Limits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let credentials = Credentials::from_directory(home.path().join("node-b"));
    let serving = tokio::spawn(async move { agent.serve(listener, credentials, std::future::pending()).await });

    let (known, unknown) = (home.path().join("node-a"), home.path().join("node-c"));
    let way = |who: &Path| {
        vec![archive.clone(), url.clone(), "--node".into(), "node-b".into(), "--credentials".into(), who.display().to_string()]
    };
    let words = way(&known);
    let receipt = sent(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(is_of(&receipt, &bytes), "{receipt}");
    let words = way(&unknown);
    refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), 1, "does not know the peer").await;
    serving.abort();
}

#[tokio::test]
async fn an_archive_goes_into_a_registry_sealed_or_by_ones_own_word() {
    let home = tempfile::tempdir().unwrap();
    let (archive, bytes) = archive(home.path());
    let registry = FakeRegistry::start(Access::Everybody, Faults::default()).await.unwrap();
    let image = format!("{}/checkpoints/orders", registry.address());
    let usual = [archive.as_str(), &image, "--plain-http"];
    refused(&usual, 1, "--recipient").await;
    assert_eq!(registry.census(), Census::default(), "nothing has gone there");
    let recipient = Key::generate().recipient().to_string();
    let receipt = sent(&[&usual[..], &["--recipient", &recipient]].concat()).await;
    assert!(is_of(&receipt, &bytes), "{receipt}");
    assert!(is_of(&sent(&[&usual[..], &["--unsealed", "--migration", "plain"]].concat()).await, &bytes));
    assert_eq!(registry.census().manifests, 2);
    refused(&[&usual[..], &["--unsealed", "--recipient", &recipient]].concat(), 2, "cannot be used with").await;
    refused(&[&archive, "./here", "--recipient", &recipient], 1, "--recipient is for registries").await;
}
