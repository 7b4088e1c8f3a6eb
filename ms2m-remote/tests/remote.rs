//! Drivers behind real agents: two of them, over mutually authenticated TLS.

mod support;

use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{
    CheckpointJob, CheckpointSource, CopyStatus, ErrorKind, InstanceId, Part, RestoreJob, RestoreTarget, SourceStatus, TransferBackend,
    TransferJob, Verdict,
};
use ms2m_remote::{RemoteSource, RemoteTarget, RemoteTransfer, Way};
use ms2m_transfer_direct::Caller;
use support::{ARCHIVE_BYTES, Nodes, checkpoint_job, migration};

const WITHIN: Duration = Duration::from_secs(60);

fn restore_job() -> RestoreJob {
    RestoreJob { migration: migration(), copy: InstanceId::new("copy").unwrap(), deadline: WITHIN }
}

async fn remote(nodes: &Nodes) -> (RemoteSource, RemoteTransfer, RemoteTarget) {
    let source = RemoteSource::open(nodes.caller("n1"), nodes.source_place()).await.unwrap();
    let way = Way::Direct { url: nodes.url("n2"), node: "n2".into() };
    let transfer = RemoteTransfer::new(nodes.caller("n1"), nodes.source_place(), way.clone(), nodes.credentials("controller"));
    (source, transfer, RemoteTarget::new(nodes.caller("n2"), nodes.target_place(), way))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_taken_sent_and_restored_by_the_nodes_themselves() {
    let nodes = Nodes::start().await;
    let (source, transfer, target) = remote(&nodes).await;
    let transfer = Arc::new(transfer);
    assert_eq!((source.name(), source.capability().leave_running), ("runtime", true));
    assert_eq!(source.status().await.unwrap(), SourceStatus::Present);
    assert_eq!(target.status(&migration()).await.unwrap(), CopyStatus::Gone);

    target.prepare(&restore_job()).await.unwrap();
    let checkpoint = source.checkpoint(&checkpoint_job()).await.unwrap();
    let body = source.open(&checkpoint, 0).await.unwrap();
    let job = TransferJob { migration: migration(), part: Part::Final, archive_bytes: checkpoint.archive_bytes, deadline: WITHIN };
    let receipt = transfer.send(&job, body).await.unwrap();
    assert_eq!(receipt.archive_bytes, ARCHIVE_BYTES as u64);
    let restored = target.restore(&restore_job(), std::slice::from_ref(&receipt), transfer.clone()).await.unwrap();
    assert_eq!(restored.copy.as_str(), "copy");
    assert_eq!(nodes.restored(), [receipt.digest], "it has read at its own node what the other one has sent");
    assert_eq!(target.status(&migration()).await.unwrap(), CopyStatus::Present);

    source.retire(&migration()).await.unwrap();
    assert_eq!(source.status().await.unwrap(), SourceStatus::Gone);
    target.promote(&migration()).await.unwrap();
    transfer.discard(&migration()).await.unwrap();
    source.discard(&migration()).await.unwrap();
    target.discard(&migration()).await.unwrap();
    assert!(nodes.arrived("n2").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_kind_and_their_verdict() {
    let nodes = Nodes::start().await;
    let (source, _, _) = remote(&nodes).await;
    let job = CheckpointJob { parent: Some(7), ..checkpoint_job() };
    let error = source.checkpoint(&job).await.unwrap_err();
    assert_eq!((error.kind(), error.verdict()), (ErrorKind::Unsupported, Verdict::Undo));
    assert!(error.to_string().contains("no parent here"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_controller_may_ask_and_only_the_source_may_send() {
    let nodes = Nodes::start().await;
    let (source, transfer, target) = remote(&nodes).await;
    let stranger = Caller::new(&nodes.url("n1"), "n1", nodes.credentials("n2")).unwrap();
    let error = RemoteSource::open(stranger, nodes.source_place()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let wrong_node = Caller::new(&nodes.url("n1"), "n2", nodes.credentials("controller")).unwrap();
    assert!(RemoteSource::open(wrong_node, nodes.source_place()).await.is_err(), "an agent must be the one that is meant");

    // Nobody has announced this migration at the target.
    let checkpoint = source.checkpoint(&checkpoint_job()).await.unwrap();
    let job = TransferJob { migration: migration(), part: Part::Final, archive_bytes: checkpoint.archive_bytes, deadline: WITHIN };
    let body = source.open(&checkpoint, 0).await.unwrap();
    assert_eq!(transfer.send(&job, body).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert!(nodes.arrived("n2").is_empty());
    drop(target);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_again_when_the_agent_was_started_again() {
    let mut nodes = Nodes::start().await;
    let (source, _, _) = remote(&nodes).await;
    source.status().await.unwrap();
    nodes.restart("n1").await;
    assert_eq!(source.status().await.unwrap(), SourceStatus::Present);
}
