//! Health, readiness, metrics, and the orderly end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{MigrationId, Part, TransferBackend as _, TransferJob};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Node, files};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until the metrics say this.
async fn metrics_with(address: SocketAddr, line: &str) -> String {
    for _ in 0..1_500 {
        let metrics = get(address, "/metrics").await;
        if metrics.contains(line) {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the metrics never said {line}");
}

fn job(bytes: &Bytes) -> TransferJob {
    let migration = MigrationId::new("m").unwrap();
    TransferJob { migration, part: Part::Final, archive_bytes: bytes.len() as u64, deadline: Duration::from_secs(60) }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_it_is() {
    let node = Node::new();
    let process = node.start(&[]);
    assert!(get(process.operations, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(process.operations, "/readyz").await.ends_with("ready\n"));
    let bytes = Bytes::from(vec![7; 100_000]);
    let body = Box::pin(stream::iter([Ok(bytes.clone())]));
    let receipt = node.client(process.checkpoints).send(&job(&bytes), body).await.unwrap();
    assert!(receipt.digest.is_of(&bytes));
    // The client has its receipt before the server is through with the request.
    let metrics = metrics_with(process.operations, "ms2m_agent_transfers_open 0\n").await;
    for line in ["ms2m_agent_uploads_done_total 1\n", "ms2m_agent_received_bytes_total 100000\n", "# EOF\n"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Of checkpoints nothing is told there.
    assert!(get(process.operations, "/v1/checkpoints").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_takes_what_is_on_its_way_and_nothing_new() {
    let node = Node::new();
    let process = node.start(&[]);
    let bytes = Bytes::from(vec![7; 4_000_000]);
    // Half of it before the signal, half after.
    let (go_on, wait) = tokio::sync::oneshot::channel();
    let rest = bytes.slice(2_000_000..);
    let body = stream::iter([Ok(bytes.slice(..2_000_000))]).chain(stream::once(async move {
        wait.await.unwrap();
        Ok(rest)
    }));
    let client = node.client(process.checkpoints);
    let upload = tokio::spawn({
        let (client, job) = (client.clone(), job(&bytes));
        async move { client.send(&job, Box::pin(body)).await }
    });
    metrics_with(process.operations, "ms2m_agent_transfers_open 1\n").await;
    process.signal(Signal::TERM);
    while get(process.operations, "/readyz").await.starts_with("HTTP/1.1 200 ") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    go_on.send(()).unwrap();
    let receipt = upload.await.unwrap().expect("an upload on its way ends well");
    process.ended();
    assert_eq!(std::fs::read(&receipt.location).unwrap(), bytes);
    // What it has taken, the next one has.
    let process = node.start(&[]);
    let stored = node.client(process.checkpoints).list().await.unwrap();
    assert_eq!(stored.iter().map(|stored| stored.digest).collect::<Vec<_>>(), [receipt.digest]);
    node.client(process.checkpoints).discard(&receipt.migration).await.unwrap();
    assert_eq!(files(&node.storage()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asks_for_is_removed_by_its_age() {
    let node = Node::new();
    let process = node.start(&["--incomplete-age-max-s", "1", "--age-max-s", "1", "--collect-every-s", "1"]);
    let bytes = Bytes::from(vec![7; 100_000]);
    let client = node.client(process.checkpoints);
    client.send(&job(&bytes), Box::pin(stream::iter([Ok(bytes.clone())]))).await.unwrap();
    let broken = TransferJob { migration: MigrationId::new("broken").unwrap(), deadline: Duration::from_millis(500), ..job(&bytes) };
    let body = stream::iter([Ok(bytes.slice(..50_000))]).chain(stream::pending());
    client.send(&broken, Box::pin(body)).await.unwrap_err();
    assert_eq!(files(&node.storage()).len(), 2);
    let gone = async {
        while !files(&node.storage()).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("orphans are collected");
}

#[tokio::test]
async fn a_second_agent_of_one_directory_says_so_and_ends() {
    let node = Node::new();
    let _first = node.start(&[]);
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.start(&[])));
    let said = *second.err().expect("it ends").downcast::<String>().unwrap();
    assert!(said.contains("another agent uses this directory"), "{said}");
}
