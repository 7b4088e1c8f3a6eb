//! The queue whose consumer moves.
// The derived schema has structs of its own within functions.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::choices::QueueProtocol;

/// The queue and its broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.brokerUrl) != has(self.brokerSecretRef)").message(
    "give exactly one of brokerUrl and brokerSecretRef: a Secret where the URL holds a password"
))]
pub struct MessageQueueConfig {
    /// The primary queue.
    #[schemars(length(min = 1, max = 255))]
    pub queue_name: String,
    /// The broker, where its URL is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^amqps?://"))]
    pub broker_url: Option<String>,
    /// The Secret that holds the broker's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_secret_ref: Option<BrokerSecretRef>,
    /// RabbitMQ's management API, with which a consumer that hangs is cut off; port 15672 of the broker's host unless given. User and
    /// password are those of the broker's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub management_url: Option<String>,
    /// Accepted from older manifests: a hand-over needs no exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub exchange_name: Option<String>,
    /// Accepted from older manifests: a hand-over needs no routing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub routing_key: Option<String>,
    /// Which log decides about positions.
    #[serde(default)]
    pub protocol: QueueProtocol,
}

/// A Secret in the migration's own namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerSecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key under which it has the URL.
    #[serde(default = "url")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn url() -> String {
    "url".to_owned()
}
