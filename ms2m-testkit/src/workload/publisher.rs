//! One publisher: publishes ahead of its confirms, and after a lost connection sends again what was not confirmed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::{Broker, Confirm, Connection, LinkResult, Publisher as Channel};
use ms2m_broker::message::{PUBLISHED_AT_HEADER, PUBLISHER_HEADER, SEQUENCE_HEADER};
use ms2m_broker::{LinkError, Message, Properties, Value};
use ms2m_core::{Clock, Digest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{SendLog, body};

/// What a publisher does.
#[derive(Clone, PartialEq, Debug)]
pub struct Publisher {
    /// Its name, in every message and as its connection's name.
    pub name: String,
    /// The exchange; empty for the default one.
    pub exchange: String,
    /// The queue, or the routing key of the exchange.
    pub queue: String,
    /// Messages per second; 0 for as fast as confirms allow. It keeps the rate on average: what it is late with, it sends at once.
    pub rate_per_s: f64,
    /// How many messages, numbered from 1; `None` until it is stopped.
    pub count: Option<u64>,
    /// Size of a body, in bytes.
    pub body_bytes: usize,
    /// Seed of the bodies.
    pub seed: u64,
    /// How many messages may be unconfirmed.
    pub window: usize,
    /// How long it waits before it connects again.
    pub reconnect_after: Duration,
    /// How often in a row connecting may fail before it gives up.
    pub reconnects_max: u32,
}

impl Publisher {
    /// A publisher of bodies of 64 bytes, with a window of 256.
    #[must_use]
    pub fn new(name: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            exchange: String::new(),
            queue: queue.into(),
            rate_per_s: 0.0,
            count: None,
            body_bytes: 64,
            seed: 0,
            window: 256,
            reconnect_after: Duration::from_millis(20),
            reconnects_max: 500,
        }
    }
}

/// What a publisher has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Published {
    /// Messages sent; the last one's number.
    pub sent: u64,
    /// Of these, confirmed.
    pub confirmed: u64,
    /// Of these, rejected by the broker. They are not sent again.
    pub refused: u64,
    /// How often a message was sent again because its confirm was lost.
    pub uncertain: u64,
}

struct Pending {
    seq: u64,
    message: Message,
    /// `None` while it is to be sent again.
    confirm: Option<Confirm>,
}

/// Publishes until `count` is reached or `stop` turns true, and everything sent is confirmed or refused.
///
/// # Errors
/// `NotFound` when there is no such queue or exchange, `Unauthorized`, or the last error when reconnecting fails for too long.
pub async fn run(
    publisher: &Publisher,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    log: Arc<dyn SendLog>,
    stop: watch::Receiver<bool>,
) -> LinkResult<Published> {
    let (done, pending) = (Published::default(), VecDeque::with_capacity(publisher.window));
    let mut run =
        Run { publisher, broker, clock, log, stop: Some(stop), stopped: false, done, pending, started: Instant::now(), failures: 0 };
    loop {
        match run.connected().await {
            Ok(()) => return Ok(run.done),
            Err(LinkError::Lost(_) | LinkError::Unavailable(_)) if run.failures < publisher.reconnects_max => run.failures += 1,
            Err(error) => return Err(error),
        }
        for pending in &mut run.pending {
            pending.confirm = None;
        }
        sleep(publisher.reconnect_after).await;
    }
}

struct Gone;

async fn told(stop: &mut Option<watch::Receiver<bool>>) -> Result<(), Gone> {
    match stop {
        Some(stop) => stop.wait_for(|stop| *stop).await.map(drop).map_err(|_| Gone),
        None => std::future::pending().await,
    }
}

struct Run<'a> {
    publisher: &'a Publisher,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    log: Arc<dyn SendLog>,
    /// `None` when nobody can stop it any more.
    stop: Option<watch::Receiver<bool>>,
    stopped: bool,
    done: Published,
    /// Sent and not confirmed, in order.
    pending: VecDeque<Pending>,
    started: Instant,
    failures: u32,
}

impl Run<'_> {
    /// The life of one connection; `Ok` when all is done.
    async fn connected(&mut self) -> LinkResult<()> {
        let connection = self.broker.connect(&self.publisher.name).await?;
        let mut channel = connection.publisher().await?;
        let ended = self.publish_all(&*connection, &mut *channel).await;
        if ended.is_ok() {
            connection.close().await;
        }
        ended
    }

    async fn publish_all(&mut self, connection: &dyn Connection, channel: &mut dyn Channel) -> LinkResult<()> {
        for index in 0..self.pending.len() {
            let pending = &mut self.pending[index];
            self.log.uncertain(&self.publisher.name, pending.seq);
            self.done.uncertain += 1;
            pending.confirm = Some(channel.publish(&self.publisher.queue, pending.message.clone()).await?);
        }
        let mut lost = std::pin::pin!(connection.lost());
        loop {
            let next_at = self.next_at();
            if next_at.is_none() && self.pending.is_empty() {
                return Ok(());
            }
            let room = self.pending.len() < self.publisher.window.max(1);
            let front = self.pending.front_mut().and_then(|pending| pending.confirm.as_mut());
            tokio::select! {
                biased;
                confirmed = async { front.expect("checked by the branch").await }, if front.is_some() => self.settle(confirmed)?,
                // Before the next message, which would be uncertain although nobody has it.
                reason = &mut lost => return Err(reason),
                () = sleep_until(next_at.unwrap_or(self.started)), if room && next_at.is_some() => self.publish_next(channel).await?,
                told = told(&mut self.stop), if next_at.is_some() => {
                    if let Err(Gone) = told {
                        self.stop = None;
                    }
                    // What is unlimited ends with whoever could have stopped it.
                    self.stopped = told.is_ok() || self.publisher.count.is_none();
                }
            }
        }
    }

    /// When the next message is due, if there is to be one.
    fn next_at(&self) -> Option<Instant> {
        if self.stopped || self.publisher.count.is_some_and(|count| self.done.sent >= count) {
            return None;
        }
        if self.publisher.rate_per_s <= 0.0 {
            return Some(self.started);
        }
        // Each from the start, so that the rate does not drift.
        let offset = Duration::try_from_secs_f64(self.done.sent as f64 / self.publisher.rate_per_s).ok()?;
        self.started.checked_add(offset)
    }

    async fn publish_next(&mut self, channel: &mut dyn Channel) -> LinkResult<()> {
        let seq = self.done.sent + 1;
        let body = body(self.publisher.seed, seq, self.publisher.body_bytes);
        self.log.sent(&self.publisher.name, seq, Digest::of(&body));
        self.done.sent = seq;
        let headers = vec![
            (PUBLISHER_HEADER.to_owned(), Value::Text(self.publisher.name.clone())),
            (SEQUENCE_HEADER.to_owned(), Value::Int(seq.cast_signed())),
            (PUBLISHED_AT_HEADER.to_owned(), Value::Int(self.clock.now().as_micros().cast_signed())),
        ];
        let properties = Properties { exchange: self.publisher.exchange.clone(), headers, ..Properties::default() };
        let message = Message { properties, body };
        // Remembered first: whether an attempt that fails has reached the broker, nobody knows.
        self.pending.push_back(Pending { seq, message: message.clone(), confirm: None });
        let confirm = channel.publish(&self.publisher.queue, message).await?;
        if let Some(pending) = self.pending.back_mut() {
            pending.confirm = Some(confirm);
        }
        Ok(())
    }

    fn settle(&mut self, confirmed: LinkResult<()>) -> LinkResult<()> {
        match confirmed {
            Ok(()) => self.done.confirmed += 1,
            Err(LinkError::Refused(_)) => self.done.refused += 1,
            // It stays pending.
            Err(error) => return Err(error),
        }
        self.failures = 0;
        if let Some(pending) = self.pending.pop_front()
            && confirmed.is_ok()
        {
            self.log.confirmed(&self.publisher.name, pending.seq);
        }
        Ok(())
    }
}
