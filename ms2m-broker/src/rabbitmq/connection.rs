//! One AMQP connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{Either, select, try_join};
use futures_util::{Stream, StreamExt, pin_mut};
use lapin::options::{BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ConnectionProperties, ConnectionStatus, Event};
use tokio::sync::{Mutex, watch};

use super::config::RabbitMqConfig;
use super::error::{bounded, of_connect, within};
use super::facts::declare_arguments;
use super::properties::short;
use super::publisher::RabbitPublisher;
use super::subscription::RabbitSubscription;
use crate::link::{
    Connection, ConsumeOptions, LinkError, LinkResult, OPERATION_DEADLINE, Publisher, QueueOptions, QueueStatus, Subscription,
};

/// A quorum queue that cannot reach its leader answers a passive declare with 0 messages and 0 consumers after 250 ms
/// (`rabbit_quorum_queue:stat/2`). Zeros that took this long are no answer.
const BELIEVABLE: Duration = Duration::from_millis(200);
/// lapin tells no listener of a close without an error code, so its state is looked at as well.
const LOOK: Duration = Duration::from_secs(1);
/// Of consumers of a stream: number of the first message wanted.
const OFFSET_ARGUMENT: &str = "x-stream-offset";
/// Messages to an inbox are few and small; this bounds what a flood of them can pin.
const INBOX_PREFETCH: u16 = 256;

/// A connection, with whether it still is one.
#[derive(Debug)]
pub(super) struct RabbitConnection {
    inner: lapin::Connection,
    lost: Arc<watch::Sender<Option<LinkError>>>,
    /// Kept for passive declares: each 404 costs a channel, each answer else leaves it usable.
    looking: Mutex<Option<Channel>>,
}

impl RabbitConnection {
    pub(super) async fn open(config: &RabbitMqConfig, name: &str) -> LinkResult<Self> {
        let properties = ConnectionProperties::default().with_client_property("product".into(), "ms2m".into());
        let properties = properties.with_connection_name(name.into());
        let connecting = lapin::Connection::connect_uri(config.uri.clone(), properties);
        let inner = within(OPERATION_DEADLINE, "connect", connecting).await?.map_err(|error| of_connect(&error))?;
        let lost = Arc::new(watch::Sender::new(None));
        tokio::spawn(watch_over(inner.events_listener(), inner.status().clone(), Arc::clone(&lost)));
        Ok(Self { inner, lost, looking: Mutex::new(None) })
    }

    pub(super) async fn channel(&self) -> LinkResult<Channel> {
        bounded("channel.open", "", self.inner.create_channel()).await
    }

    /// Declares on a channel of its own, which a refusal closes.
    pub(super) async fn declare_as(&self, queue: &str, options: QueueDeclareOptions, arguments: FieldTable) -> LinkResult<()> {
        let channel = self.channel().await?;
        bounded("queue.declare", queue, channel.queue_declare(short(queue)?, options, arguments)).await.map(drop)
    }

    async fn subscribe(&self, queue: &str, tag: &str, prefetch: u16, arguments: FieldTable) -> LinkResult<Box<dyn Subscription>> {
        subscribe_on(self.channel().await?, queue, tag, prefetch, arguments).await
    }
}

/// A copy that wakes up subscribes while nobody serves, so nothing here waits for the answer to what was asked before it.
async fn subscribe_on(channel: Channel, queue: &str, tag: &str, prefetch: u16, arguments: FieldTable) -> LinkResult<Box<dyn Subscription>> {
    // Per consumer, not per channel (`global`): quorum queues and streams know only that.
    let limiting = bounded("basic.qos", queue, channel.basic_qos(prefetch, BasicQosOptions::default()));
    let consuming = channel.basic_consume(short(queue)?, short(tag)?, BasicConsumeOptions::default(), arguments);
    let ((), consumer) = try_join(limiting, bounded("basic.consume", queue, consuming)).await?;
    Ok(Box::new(RabbitSubscription::new(channel, consumer, queue)))
}

#[async_trait]
impl Connection for RabbitConnection {
    async fn lost(&self) -> LinkError {
        let mut lost = self.lost.subscribe();
        // The sender lives in `self`, so the channel cannot end.
        match lost.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_else(|| LinkError::Lost("closed".into())),
            Err(_) => LinkError::Lost("closed".into()),
        }
    }

    async fn queue_status(&self, queue: &str) -> LinkResult<Option<QueueStatus>> {
        let mut kept = self.looking.lock().await;
        let channel = match kept.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.channel().await?,
        };
        let asked = Instant::now();
        let looking =
            channel.queue_declare(short(queue)?, QueueDeclareOptions { passive: true, ..Default::default() }, FieldTable::default());
        match bounded("queue.declare", queue, looking).await {
            Ok(found) => {
                *kept = Some(channel);
                let status = QueueStatus { ready: found.message_count(), consumers: found.consumer_count() };
                let took = asked.elapsed();
                if status.ready == 0 && status.consumers == 0 && took > BELIEVABLE {
                    return Err(LinkError::Unavailable(format!("queue {queue:?} took {took:?} to say that it is empty: maybe a guess")));
                }
                Ok(Some(status))
            }
            Err(LinkError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn declare(&self, queue: &str, options: &QueueOptions) -> LinkResult<()> {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        self.declare_as(queue, durable, declare_arguments(options)).await
    }

    async fn delete(&self, queue: &str) -> LinkResult<()> {
        let channel = self.channel().await?;
        let deleting = channel.queue_delete(short(queue)?, QueueDeleteOptions::default());
        match bounded("queue.delete", queue, deleting).await {
            Ok(_) | Err(LinkError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn publisher(&self) -> LinkResult<Box<dyn Publisher>> {
        let channel = self.channel().await?;
        bounded("confirm.select", "", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Box::new(RabbitPublisher::new(channel)))
    }

    async fn consume(&self, queue: &str, options: &ConsumeOptions) -> LinkResult<Box<dyn Subscription>> {
        let mut arguments = FieldTable::default();
        if let Some(offset) = options.from_offset {
            let offset = i64::try_from(offset).map_err(|_| LinkError::Refused(format!("offset {offset} is beyond any log")))?;
            arguments.insert(OFFSET_ARGUMENT.into(), AMQPValue::LongLongInt(offset));
        }
        match self.subscribe(queue, &options.tag, options.prefetch, arguments).await {
            // Only logs have offsets; any other queue begins where it is.
            Err(LinkError::Refused(text)) if text.contains(OFFSET_ARGUMENT) => {
                self.subscribe(queue, &options.tag, options.prefetch, FieldTable::default()).await
            }
            subscribed => subscribed,
        }
    }

    async fn inbox(&self, queue: &str) -> LinkResult<Box<dyn Subscription>> {
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let channel = self.channel().await?;
        let declaring = bounded("queue.declare", queue, channel.queue_declare(short(queue)?, exclusive, FieldTable::default()));
        let subscribing = subscribe_on(channel.clone(), queue, "", INBOX_PREFETCH, FieldTable::default());
        Ok(try_join(declaring, subscribing).await?.1)
    }

    async fn close(&self) {
        // Closed already, or not answering: either way there is nothing more to do, and dropping it cuts it off.
        let _ = bounded("connection.close", "", self.inner.close(200, "OK".into())).await;
        tell(&self.lost, LinkError::Lost("closed".into()));
    }
}

/// Sees the end of a connection. Holds nothing of it but its state.
async fn watch_over(events: impl Stream<Item = Event>, status: ConnectionStatus, lost: Arc<watch::Sender<Option<LinkError>>>) {
    pin_mut!(events);
    let mut reason = LinkError::Lost("closed without a reason".into());
    while status.connected() || status.connecting() {
        let look = tokio::time::sleep(LOOK);
        pin_mut!(look);
        match select(events.next(), look).await {
            Either::Left((Some(Event::Error(error)), _)) => reason = LinkError::Lost(error.to_string()),
            // All of the connection is gone.
            Either::Left((None, _)) => break,
            Either::Left(_) | Either::Right(_) => {}
        }
    }
    tell(&lost, reason);
}

/// The first reason stays.
fn tell(lost: &watch::Sender<Option<LinkError>>, reason: LinkError) {
    lost.send_if_modified(|said| {
        let first = said.is_none();
        said.get_or_insert(reason);
        first
    });
}
