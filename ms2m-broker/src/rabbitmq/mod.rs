//! RabbitMQ over AMQP 0-9-1, with its management API where there is one.
//!
//! What the protocols rest on, and where it is kept:
//! - nothing recovers by itself: lapin's auto-recovery stays off, because it would consume again on its own after a restore;
//! - a consumer ends by `channel.close`, never by `basic.cancel` (module `subscription`);
//! - acknowledgements are cumulative (module `subscription`);
//! - a confirm never says yes to a message that was returned (module `confirm`);
//! - a count that may be a guess is an error (module `connection`);
//! - whether a named connection is gone is asked of the broker itself, not of its statistics (module `presence`).
//!
//! What a client must know that no code here can hide (measured on 3.10.8, see `tests/rabbitmq_edges`):
//! - a crash of the broker leaves dead consumers on a quorum queue for up to about 0.1 s, and what they held comes after
//!   everything else then: consume again only when `queue_status` counts no consumer, or with a single active consumer;
//! - a quorum queue declared less than about a second before such a crash never comes back, its confirmed messages with it;
//! - of a quorum queue's consumers only the active one is counted, of a stream nothing at all;
//! - a stream ends the publisher's whole connection at a header with a decimal number, and drops lists and tables.
//!
//! RabbitMQ blocks connections that publish while it is short of memory or disk, and lapin then writes nothing on such a
//! connection, acknowledgements and `channel.close` included; operations run into their deadline. Who must be able to
//! acknowledge in that state consumes and publishes on two connections.

mod config;
mod confirm;
mod connection;
mod error;
mod facts;
mod management;
mod presence;
mod properties;
mod publisher;
mod subscription;
mod tls;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::link::{Broker, Connection, LinkResult, QueueFacts};
use connection::RabbitConnection;
use management::Management;

pub use config::RabbitMqConfig;

/// A RabbitMQ broker. Connections run on the Tokio runtime that [`Broker::connect`] is called on.
pub struct RabbitMq {
    config: RabbitMqConfig,
    management: Option<Management>,
}

impl RabbitMq {
    /// Gets ready to connect; nothing is contacted yet.
    ///
    /// # Errors
    /// [`LinkError::Refused`](crate::LinkError::Refused) when a TLS URL is given and the process has no TLS provider.
    pub fn new(config: RabbitMqConfig) -> LinkResult<Self> {
        tls::check(config.uses_tls())?;
        let management = config.management.as_ref().map(|url| Management::new(url, &config)).transpose()?;
        Ok(Self { config, management })
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RabbitMq").field(&self.config).finish()
    }
}

#[async_trait]
impl Broker for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    async fn connect(&self, name: &str) -> LinkResult<Arc<dyn Connection>> {
        let connection = RabbitConnection::open(&self.config, name).await?;
        presence::mark(&connection, name).await?;
        Ok(Arc::new(connection))
    }

    async fn fence(&self, name: &str) -> LinkResult<bool> {
        match &self.management {
            Some(management) => presence::fence(management, &self.config, name).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn inspect(&self, queue: &str) -> LinkResult<Option<QueueFacts>> {
        match &self.management {
            Some(management) => management.queue(queue).await.map(Some),
            None => Ok(None),
        }
    }
}
