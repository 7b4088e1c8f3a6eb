//! The contract of `ReplayBroker`, with the SDK on both sides, in memory.

mod replay;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ms2m_broker::Broker;
use ms2m_broker::link::QueueKind;
use ms2m_testkit::{MemoryBroker, Profile, conformance};

async fn run(kind: QueueKind, single_active_consumer: bool) {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new(Profile::rabbitmq()));
    let count = AtomicU32::new(0);
    let make = async || {
        let name = format!("orders-{}", count.fetch_add(1, Ordering::Relaxed));
        replay::Subject::new(Arc::clone(&broker), name, kind, single_active_consumer).await
    };
    conformance::replay(make).await;
}

#[tokio::test]
async fn classic() {
    run(QueueKind::Classic, false).await;
}

#[tokio::test]
async fn classic_with_single_active_consumer() {
    run(QueueKind::Classic, true).await;
}

#[tokio::test]
async fn quorum() {
    run(QueueKind::Quorum, false).await;
}

#[tokio::test]
async fn quorum_with_single_active_consumer() {
    run(QueueKind::Quorum, true).await;
}

#[tokio::test]
async fn stream() {
    run(QueueKind::Stream, false).await;
}
