//! [`PublishSink`]: effects as messages to another queue.

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_broker::link::{OPERATION_DEADLINE, Publisher};
use ms2m_broker::{Broker, Connection, LinkError, Message, Properties};
use ms2m_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use super::{Effect, EffectSink};

/// Publishes each effect to a queue, with the effect's id as `message_id`, and waits for the confirms of a batch together.
///
/// It has a connection of its own, opened when it is first needed and opened anew after an error.
#[derive(Debug)]
pub struct PublishSink {
    broker: Arc<dyn Broker>,
    queue: String,
    open: Option<(Arc<dyn Connection>, Box<dyn Publisher>)>,
}

impl PublishSink {
    /// To `queue`, which must exist.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, queue: impl Into<String>) -> Self {
        Self { broker, queue: queue.into(), open: None }
    }

    async fn publish(&mut self, effects: Vec<Effect>) -> Result<(), LinkError> {
        let (_, publisher) = match &mut self.open {
            Some(open) => open,
            None => {
                let connection = self.broker.connect(&format!("ms2m-effects-{}", self.queue)).await?;
                let publisher = connection.publisher().await?;
                self.open.insert((connection, publisher))
            }
        };
        let mut confirms = Vec::with_capacity(effects.len());
        for Effect { id, payload } in effects {
            let properties = Properties { message_id: Some(id.to_string()), ..Properties::default() };
            confirms.push(publisher.publish(&self.queue, Message { properties, body: payload }).await?);
        }
        for confirm in confirms {
            confirm.await?;
        }
        Ok(())
    }
}

#[async_trait]
impl EffectSink for PublishSink {
    async fn emit(&mut self, effects: Vec<Effect>) -> Result<()> {
        let published = timeout(OPERATION_DEADLINE, self.publish(effects)).await;
        let error = match published {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Error::from(error),
            Err(_) => Error::retry(ErrorKind::Timeout, "the broker has not confirmed effects in time"),
        };
        if let Some((connection, _)) = self.open.take() {
            // The next attempt must not find half of this one still on its way.
            let _ = timeout(OPERATION_DEADLINE, connection.close()).await;
        }
        Err(error.with("effects_queue", &self.queue))
    }
}
