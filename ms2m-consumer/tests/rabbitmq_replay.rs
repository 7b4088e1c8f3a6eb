//! The contract of `ReplayBroker`, with the SDK on both sides, on a real RabbitMQ.

mod replay;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use ms2m_broker::Broker;
use ms2m_broker::link::QueueKind;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit::conformance;
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};

/// One server for all tests of this binary.
fn server() -> &'static RabbitMqServer {
    static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();
    SERVER.get_or_init(|| RabbitMqServer::start(&Options::default()).expect("a RabbitMQ"))
}

async fn run(name: &str, kind: QueueKind, single_active_consumer: bool) {
    let config = RabbitMqConfig::new(&server().amqp_url()).and_then(|config| config.with_management(&server().management_url()));
    let broker: Arc<dyn Broker> = Arc::new(config.and_then(RabbitMq::new).expect("URLs of the server"));
    let count = AtomicU32::new(0);
    let make = async || {
        let name = format!("{name}-{}", count.fetch_add(1, Ordering::Relaxed));
        replay::Subject::new(Arc::clone(&broker), name, kind, single_active_consumer).await
    };
    conformance::replay(make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classic() {
    run("classic", QueueKind::Classic, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classic_with_single_active_consumer() {
    run("classic-sac", QueueKind::Classic, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum() {
    run("quorum", QueueKind::Quorum, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_with_single_active_consumer() {
    run("quorum-sac", QueueKind::Quorum, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream() {
    run("stream", QueueKind::Stream, false).await;
}
