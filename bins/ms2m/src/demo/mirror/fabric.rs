//! Exchanges and bindings, which the protocols of this project do without.

use std::fmt;

use async_trait::async_trait;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_testkit::MemoryBroker;

/// A broker's fan-out exchanges.
#[async_trait]
pub(crate) trait Fabric: fmt::Debug + Send + Sync + 'static {
    /// Declares the exchange if it is missing, and binds a queue to it.
    async fn bind(&self, exchange: &str, queue: &str) -> Result<()>;

    /// Removes the exchange.
    async fn remove(&self, exchange: &str) -> Result<()>;
}

#[async_trait]
impl Fabric for MemoryBroker {
    async fn bind(&self, exchange: &str, queue: &str) -> Result<()> {
        Self::bind(self, exchange, queue);
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

/// RabbitMQ's.
pub(crate) struct RabbitFabric {
    _connection: Connection,
    channel: Channel,
}

impl fmt::Debug for RabbitFabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RabbitFabric")
    }
}

impl RabbitFabric {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.map_err(failed)?;
        let channel = connection.create_channel().await.map_err(failed)?;
        Ok(Self { _connection: connection, channel })
    }
}

#[async_trait]
impl Fabric for RabbitFabric {
    async fn bind(&self, exchange: &str, queue: &str) -> Result<()> {
        let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
        self.channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, options, none.clone()).await.map_err(failed)?;
        self.channel.queue_bind(queue.into(), exchange.into(), "".into(), QueueBindOptions::default(), none).await.map_err(failed)
    }

    async fn remove(&self, exchange: &str) -> Result<()> {
        self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.map_err(failed)
    }
}

fn failed(error: lapin::Error) -> Error {
    Error::fatal(ErrorKind::Unavailable, "the broker does not take an exchange or a binding").caused_by(error)
}
