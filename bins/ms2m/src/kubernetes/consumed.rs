//! What a pod consumes: what is said on the command line, and else what its annotations say.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_k8s::api::annotations::{BROKER_SECRET, CONTAINER, MANAGEMENT_URL, QUEUE};
use ms2m_k8s::api::{BrokerSecretRef, MessageQueueConfig, QueueProtocol};

/// What somebody says in place of the annotations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) queue: Option<&'a str>,
    pub(super) broker: Option<&'a str>,
    pub(super) broker_secret: Option<&'a str>,
    pub(super) management: Option<&'a str>,
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.annotations().get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Whether the pod says by itself what it consumes.
pub(super) fn is_opted_in(pod: &Pod) -> bool {
    annotation(pod, QUEUE).is_some()
}

/// The container whose state moves, if the pod says which one.
pub(super) fn container(pod: &Pod) -> Option<&str> {
    annotation(pod, CONTAINER)
}

/// Its queue and broker.
pub(super) fn consumed(pod: &Pod, said: &Said<'_>) -> Result<MessageQueueConfig> {
    let missing = |message: &str| Error::fatal(ErrorKind::Invalid, message.to_owned()).with("pod", pod.name_any());
    let queue = said.queue.or_else(|| annotation(pod, QUEUE));
    let queue =
        queue.ok_or_else(|| missing("which queue does it consume? Say --queue, or annotate the pod with migration.ms2m.io/queue"))?;
    let secret = if said.broker.is_some() { None } else { said.broker_secret.or_else(|| annotation(pod, BROKER_SECRET)) };
    if said.broker.is_none() && secret.is_none() {
        let message = "where is the broker? Say --broker-secret or --broker, or annotate the pod with migration.ms2m.io/broker-secret";
        return Err(missing(message));
    }
    Ok(MessageQueueConfig {
        queue_name: queue.to_owned(),
        broker_url: said.broker.map(str::to_owned),
        broker_secret_ref: secret.map(|secret| {
            let (name, key) = secret.split_once('/').unwrap_or((secret, "url"));
            BrokerSecretRef { name: name.to_owned(), key: key.to_owned() }
        }),
        management_url: said.management.or_else(|| annotation(pod, MANAGEMENT_URL)).map(str::to_owned),
        exchange_name: None,
        routing_key: None,
        protocol: QueueProtocol::default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: &Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "orders-0", "annotations": annotations } })).unwrap()
    }

    #[test]
    fn annotations_are_enough_and_what_is_said_comes_first() {
        let pod = pod(&json!({ QUEUE: "orders", BROKER_SECRET: "broker/uri", MANAGEMENT_URL: "http://b:1" }));
        assert!(is_opted_in(&pod));
        let found = consumed(&pod, &Said::default()).unwrap();
        let secret = BrokerSecretRef { name: "broker".into(), key: "uri".into() };
        assert_eq!((found.queue_name.as_str(), found.broker_secret_ref), ("orders", Some(secret)));
        assert_eq!(found.management_url.as_deref(), Some("http://b:1"));
        let said = Said { queue: Some("bills"), broker: Some("amqp://b"), ..Said::default() };
        let found = consumed(&pod, &said).unwrap();
        assert_eq!((found.queue_name.as_str(), found.broker_url.as_deref(), found.broker_secret_ref), ("bills", Some("amqp://b"), None));
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let told = |annotations: Value| consumed(&pod(&annotations), &Said::default()).unwrap_err().to_string();
        assert!(told(json!({})).contains("which queue"));
        assert!(!is_opted_in(&pod(&json!({ QUEUE: "" }))));
        assert!(told(json!({ QUEUE: "orders" })).contains("where is the broker"));
        let key = consumed(&pod(&json!({ QUEUE: "orders", BROKER_SECRET: "b" })), &Said::default()).unwrap().broker_secret_ref.unwrap().key;
        assert_eq!(key, "url");
    }
}
