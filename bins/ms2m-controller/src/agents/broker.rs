//! The migration's broker.

use std::sync::Arc;

use kube::Client;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::Broker as _;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{Error, ErrorKind, ReplayBroker, Result};
use ms2m_k8s::Plan;
use ms2m_k8s::api::QueueProtocol;

/// What kind of queue it is, its broker says.
pub(super) async fn broker(client: &Client, plan: &Plan) -> Result<Arc<dyn ReplayBroker>> {
    let queue = &plan.spec.message_queue_config;
    if queue.protocol == QueueProtocol::Relay {
        let message = "protocol: only consumers with ms2m's SDK can be moved; write Auto";
        return Err(Error::fatal(ErrorKind::Unsupported, message));
    }
    let url = plan.broker_url(client).await?;
    let config = RabbitMqConfig::new(&url)?.with_management_or_default(queue.management_url.as_deref())?;
    let broker = RabbitMq::new(config)?;
    let facts = broker.inspect(&queue.queue_name).await.map_err(|error| match Error::from(error) {
        missing if missing.kind() == ErrorKind::NotFound => missing,
        error => error.with("hint", "RabbitMQ's management API says what kind of queue it is; name it as managementUrl"),
    })?;
    let facts = facts.ok_or_else(|| {
        Error::fatal(ErrorKind::Unsupported, "the broker does not say what kind of queue it is").with("queue", &queue.queue_name)
    })?;
    let options = JournalOptions::new(facts.kind, facts.single_active_consumer);
    Ok(Arc::new(JournalBroker::new(Arc::new(broker), queue.queue_name.clone(), options)))
}
