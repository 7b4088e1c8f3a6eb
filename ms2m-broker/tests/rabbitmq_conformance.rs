//! The suite that every broker runs, on a real RabbitMQ.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ms2m_broker::link::QueueKind;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit::link_conformance;
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};

async fn run(kind: QueueKind) {
    static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();
    let server = SERVER.get_or_init(|| RabbitMqServer::start(&Options::default()).expect("a RabbitMQ"));
    let config = RabbitMqConfig::new(&server.amqp_url()).and_then(|config| config.with_management(&server.management_url()));
    let broker = Arc::new(config.and_then(RabbitMq::new).expect("URLs of the server"));
    let prefix = format!("conformance.{kind:?}");
    let options = link_conformance::Options { kinds: vec![kind], prefix, silence: Duration::from_millis(400), ..Default::default() };
    link_conformance::run(async || Arc::clone(&broker), &options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classic_queues_keep_what_the_link_promises() {
    run(QueueKind::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_queues_keep_what_the_link_promises() {
    run(QueueKind::Quorum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_keep_what_the_link_promises() {
    run(QueueKind::Stream).await;
}
