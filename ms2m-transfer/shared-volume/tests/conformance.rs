//! The contract of a transfer.

use std::sync::Arc;

use ms2m_testkit::conformance;
use ms2m_transfer_shared_volume::SharedVolume;

#[tokio::test]
async fn it_keeps_the_contract() {
    keeps_the_contract(|volume| volume).await;
}

#[tokio::test]
async fn it_keeps_the_contract_within_one_machine() {
    keeps_the_contract(SharedVolume::within_one_machine).await;
}

async fn keeps_the_contract(how: impl Fn(SharedVolume) -> SharedVolume) {
    let directory = tempfile::tempdir().unwrap();
    conformance::transfer(async || Arc::new(how(SharedVolume::new(directory.path().join("shared")).limited_to(64 << 20)))).await;
    // Whatever went wrong in there, no unfinished file is left.
    let names = walk(directory.path());
    assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
}

fn walk(directory: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            names.extend(walk(&entry.path()));
        }
    }
    names
}
