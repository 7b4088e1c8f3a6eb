//! Publishing with confirms.

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::ready;
use lapin::Channel;
use lapin::options::BasicPublishOptions;

use super::confirm::Confirms;
use super::properties::{short, to_amqp};
use crate::link::{Confirm, LinkError, LinkResult, Publisher};
use crate::message::Message;

/// A channel in confirm mode.
#[derive(Debug)]
pub(super) struct RabbitPublisher {
    channel: Channel,
    confirms: Confirms,
}

impl RabbitPublisher {
    pub(super) fn new(channel: Channel) -> Self {
        Self { confirms: Confirms::new(channel.clone()), channel }
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&mut self, queue: &str, message: Message) -> LinkResult<Confirm> {
        if !self.channel.status().connected() {
            return Err(LinkError::Lost("the publisher's channel is closed".into()));
        }
        let (exchange, routing_key) = (short(&message.properties.exchange)?, short(queue)?);
        let properties = to_amqp(&message.properties)?;
        let (channel, body) = (self.channel.clone(), message.body.clone());
        let mut publishing = async move {
            let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
            channel.basic_publish(exchange, routing_key, mandatory, &body, properties).await?.await
        }
        .boxed();
        // lapin takes the frames in the first poll, so this alone keeps the order; waiting here until they are written would cost
        // a thread switch per message. Even if all of it is done by then, the confirm is told only with its neighbours.
        if let Some(result) = (&mut publishing).now_or_never() {
            publishing = ready(result).boxed();
        }
        Ok(self.confirms.expect(queue, message.body, publishing))
    }
}
