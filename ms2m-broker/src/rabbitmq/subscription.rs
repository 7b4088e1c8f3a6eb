//! One consumer on a channel of its own.
//!
//! It ends by `channel.close` only. A quorum queue that gets a `basic.cancel` keeps messages checked out to the cancelled
//! consumer and hands later ones to the next: it reorders. lapin cancels behind one's back when its `Consumer` is dropped while
//! the channel is open (`ConsumerCanceler::drop`), so the channel starts closing before that, however this ends.

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use lapin::{Channel, Consumer};

use super::error::{bounded, of_queue};
use super::properties::received;
use crate::link::{Delivery, LinkError, LinkResult, Subscription};

/// A consumer, and the channel that it is alone on.
#[derive(Debug)]
pub(super) struct RabbitSubscription {
    channel: Channel,
    consumer: Consumer,
    queue: String,
    cancelled: bool,
    ended: Option<LinkError>,
}

impl RabbitSubscription {
    pub(super) fn new(channel: Channel, consumer: Consumer, queue: &str) -> Self {
        Self { channel, consumer, queue: queue.into(), cancelled: false, ended: None }
    }

    fn take(&mut self, item: Option<lapin::Result<lapin::message::Delivery>>) -> LinkResult<Delivery> {
        let error = match item {
            Some(Ok(delivery)) => return Ok(received(delivery)),
            Some(Err(error)) => of_queue(&error, &self.queue),
            None if self.cancelled => LinkError::Lost("the consumer was cancelled".into()),
            // On an open channel only the broker's own basic.cancel ends a consumer: its queue is gone.
            None if self.channel.status().connected() => LinkError::NotFound(self.queue.clone()),
            None => LinkError::Lost("the channel is closed".into()),
        };
        Err(self.ended.insert(error).clone())
    }

    /// Why nothing more comes. What is buffered when the channel ends belongs to the queue again, maybe to its next consumer
    /// by now: it is dropped.
    fn end(&mut self) -> Option<LinkError> {
        while self.ended.is_none() && !self.channel.status().connected() {
            match self.consumer.next().now_or_never() {
                Some(Some(Ok(_))) => {}
                Some(item) => drop(self.take(item)),
                None => drop(self.take(None)),
            }
        }
        self.ended.clone()
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> LinkResult<Delivery> {
        if let Some(error) = self.end() {
            return Err(error);
        }
        let item = self.consumer.next().await;
        self.take(item)
    }

    fn try_next(&mut self) -> Option<LinkResult<Delivery>> {
        if let Some(error) = self.end() {
            return Some(Err(error));
        }
        let item = self.consumer.next().now_or_never()?;
        Some(self.take(item))
    }

    async fn ack_up_to(&mut self, tag: u64) -> LinkResult<()> {
        // To AMQP tag 0 means everything, and lapin drops what it has buffered on it.
        if tag == 0 {
            return Ok(());
        }
        // Of single acks in flight at a channel.close, quorum queues take about 32 and drop the rest: rabbitmq-server#10327.
        bounded("basic.ack", &self.queue, self.channel.basic_ack(tag, BasicAckOptions { multiple: true })).await
    }

    async fn close(self: Box<Self>) -> LinkResult<()> {
        bounded("channel.close", &self.queue, self.channel.close(200, "OK".into())).await
    }

    async fn cancel(&mut self) -> LinkResult<()> {
        self.cancelled = true;
        let tag = self.consumer.tag();
        bounded("basic.cancel", &self.queue, self.channel.basic_cancel(tag, BasicCancelOptions::default())).await
    }
}

impl Drop for RabbitSubscription {
    fn drop(&mut self) {
        if self.channel.status().connected() {
            // One poll hands the frame over and marks the consumer as ending; nobody waits for the answer.
            drop(self.channel.close(200, "OK".into()).now_or_never());
        }
    }
}
