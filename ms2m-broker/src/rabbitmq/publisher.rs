//! Publishing with confirms.

use async_trait::async_trait;
use futures_util::FutureExt;
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
        let routing_key = short(queue)?;
        let properties = to_amqp(&message.properties)?;
        let (channel, body) = (self.channel.clone(), message.body.clone());
        let mut publishing = async move {
            let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
            channel.basic_publish("".into(), routing_key, mandatory, &body, properties).await?.await
        }
        .boxed();
        // lapin hands the frames over in the first poll, so this alone keeps the order; waiting here until they are written
        // would cost a thread switch per message.
        let early = (&mut publishing).now_or_never();
        Ok(self.confirms.expect(queue, message.body, publishing, early))
    }
}
