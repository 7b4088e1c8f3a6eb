//! The contract of a transfer, over agents that are processes.

use std::sync::{Arc, Mutex};

use ms2m_testkit::conformance;

use crate::process::{Node, files};

#[tokio::test(flavor = "multi_thread")]
async fn the_program_keeps_the_contract() {
    let running = Arc::new(Mutex::new(Vec::new()));
    conformance::transfer(async || {
        let node = Node::new();
        let process = node.start(&[]);
        let client = Arc::new(node.client(process.checkpoints));
        running.lock().unwrap().push((node, process));
        client
    })
    .await;
    for (node, _) in &*running.lock().unwrap() {
        let files = files(&node.storage());
        assert!(!files.iter().any(|name| name.ends_with(".part")), "{files:?}");
    }
}
