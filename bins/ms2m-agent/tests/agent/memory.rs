//! The most memory that each side takes does not depend on the size. `MS2M_MEMORY_BYTES` sets another size than 256 MiB.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use ms2m_core::{MigrationId, Part, TransferBackend as _, TransferJob};

use crate::process::{Node, peak_bytes};

const BYTES_MAX: u64 = 32 << 20;
const AGENT: &str = "MS2M_TEST_AGENT";
const HOME: &str = "MS2M_TEST_CREDENTIALS";
const BYTES: &str = "MS2M_MEMORY_BYTES";

fn archive_bytes() -> u64 {
    std::env::var(BYTES).ok().map_or(256 << 20, |bytes| bytes.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_side_takes_more_memory_for_more_bytes() {
    let node = Node::new();
    let process = node.start(&[]);
    // The client is a process of its own, too: this same test, which then plays its part.
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::the_client", "--nocapture", "--ignored"])
        .env(AGENT, process.checkpoints.to_string())
        .env(HOME, node.source_directory())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = client.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = output.lines().find_map(|line| line.split_once("peak_bytes=")).unwrap_or_else(|| panic!("{output}"));
    let (rate, client_bytes) = (told.0, told.1.trim().parse::<u64>().unwrap());
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{} MiB {rate}: agent {:.1} MiB, client {:.1} MiB at most",
        archive_bytes() >> 20,
        mib(process.peak_bytes()),
        mib(client_bytes)
    );
    assert!(process.peak_bytes() < BYTES_MAX, "the agent took {:.1} MiB", mib(process.peak_bytes()));
    assert!(client_bytes < BYTES_MAX, "the client took {:.1} MiB", mib(client_bytes));
}

#[tokio::test]
#[ignore = "plays the client in the test above"]
async fn the_client() {
    let agent = std::env::var(AGENT).unwrap();
    let credentials = ms2m_transfer_direct::Credentials::from_directory(std::env::var(HOME).unwrap());
    let client = ms2m_transfer_direct::DirectTransfer::to_node(&format!("https://{agent}"), crate::process::TARGET, credentials).unwrap();
    let archive_bytes = archive_bytes();
    let migration = MigrationId::new("large").unwrap();
    let job = TransferJob { migration: migration.clone(), part: Part::Final, archive_bytes, deadline: Duration::from_secs(600) };
    let pieces = (0..archive_bytes).step_by(1 << 19).map(move |at| {
        let length = (archive_bytes - at).min(1 << 19) as usize;
        Ok(Bytes::from(vec![(at >> 19) as u8; length]))
    });
    let begun = Instant::now();
    client.send(&job, Box::pin(stream::iter(pieces))).await.unwrap();
    let rate = archive_bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("at {rate:.0} MB/s peak_bytes={}", peak_bytes(std::process::id()));
    client.discard(&migration).await.unwrap();
}
