//! The suite that every broker runs, on a real RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit::link_conformance;
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_keeps_what_the_link_promises() {
    let server = RabbitMqServer::start(&Options::default()).expect("a RabbitMQ");
    let config = RabbitMqConfig::new(&server.amqp_url()).and_then(|config| config.with_management(&server.management_url()));
    let broker = Arc::new(config.and_then(RabbitMq::new).expect("URLs of the server"));
    let options = link_conformance::Options { silence: Duration::from_millis(400), ..Default::default() };
    link_conformance::run(async || Arc::clone(&broker), &options).await;
}
