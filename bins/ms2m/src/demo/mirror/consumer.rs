//! A consumer as most are written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ms2m_broker::link::{Broker, ConsumeOptions, LinkResult, Subscription};
use ms2m_core::Result;
use tokio::time::sleep;

use crate::demo::handler::Bookkeeper;
use crate::demo::judge::Judge;

const PREFETCH: u16 = 50;

/// State, and what is needed to work.
#[derive(Clone)]
pub(super) struct Plain {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) judge: Arc<Judge>,
    pub(super) service: Duration,
    books: Arc<Mutex<Bookkeeper>>,
}

impl Plain {
    pub(super) fn new(broker: Arc<dyn Broker>, judge: Arc<Judge>, service: Duration) -> Self {
        Self { broker, judge, service, books: Arc::new(Mutex::new(Bookkeeper::new(service))) }
    }

    /// The state now.
    pub(super) fn image(&self) -> Result<Bytes> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).save()
    }

    /// Another one with the state of an image.
    pub(super) fn restored(&self, image: &[u8]) -> Result<Self> {
        let mut books = Bookkeeper::new(self.service);
        books.load(image)?;
        Ok(Self { books: Arc::new(Mutex::new(books)), ..self.clone() })
    }

    /// How many messages it has applied.
    pub(super) fn applied(&self) -> u64 {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).applied()
    }

    /// Consumes a queue until the subscription ends.
    pub(super) async fn consume(&self, name: &str, queue: &str) -> LinkResult<()> {
        let connection = self.broker.connect(name).await?;
        let options = ConsumeOptions { prefetch: PREFETCH, from_offset: None, tag: name.to_owned() };
        let mut subscription = connection.consume(queue, &options).await?;
        loop {
            self.serve_one(&mut *subscription).await?;
        }
    }

    async fn serve_one(&self, subscription: &mut dyn Subscription) -> LinkResult<()> {
        let delivery = subscription.next().await?;
        if !self.service.is_zero() {
            sleep(self.service).await;
        }
        let effect = self.books.lock().unwrap_or_else(PoisonError::into_inner).enter(&delivery.message);
        if let Ok(payload) = serde_json::to_vec(&effect) {
            self.judge.effect(&payload);
        }
        subscription.ack_up_to(delivery.tag).await
    }
}
