//! One consumer's end of its channel.

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_broker::LinkError;
use ms2m_broker::link::{Delivery, LinkResult, Subscription};
use tokio::time::sleep_until;

use super::consumer::{Consumer, NotHere, Wire};
use super::link::Cable;

#[derive(Debug)]
pub(super) struct MemorySubscription {
    pub(super) cable: Arc<Cable>,
    pub(super) id: u64,
    pub(super) wire: Arc<Wire>,
}

impl MemorySubscription {
    fn look(&self) -> Result<Delivery, NotHere> {
        // The reason of the end is set before the consumer goes.
        if let Some(reason) = self.wire.ended() {
            return Err(NotHere::Ended(reason));
        }
        let mut state = self.cable.shared.lock();
        let gone = || NotHere::Ended(self.wire.ended().unwrap_or_else(|| LinkError::Lost("the channel is gone".to_owned())));
        state.consumer(self.id).ok_or_else(gone).and_then(Consumer::take)
    }

    fn detach(&self, reason: &str) {
        let late = self.cable.shared.lock().detach(self.id, &LinkError::Lost(reason.to_owned()));
        self.cable.shared.finish(late.into_iter().collect());
    }
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> LinkResult<Delivery> {
        loop {
            match self.look() {
                Ok(delivery) => return Ok(delivery),
                Err(NotHere::Ended(reason)) => return Err(reason),
                Err(NotHere::Empty) => self.wire.moved.notified().await,
                Err(NotHere::Before(at)) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.wire.moved.notified() => {}
                },
            }
        }
    }

    fn try_next(&mut self) -> Option<LinkResult<Delivery>> {
        match self.look() {
            Ok(delivery) => Some(Ok(delivery)),
            Err(NotHere::Ended(reason)) => Some(Err(reason)),
            Err(NotHere::Empty | NotHere::Before(_)) => None,
        }
    }

    async fn ack_up_to(&mut self, tag: u64) -> LinkResult<()> {
        if let Some(reason) = self.wire.ended() {
            return Err(reason);
        }
        self.cable.shared.lock().ack_up_to(self.id, tag)
    }

    async fn close(self: Box<Self>) -> LinkResult<()> {
        self.cable.shared.round_trip().await;
        if let Some(reason @ LinkError::Lost(_)) = self.wire.ended() {
            return Err(reason);
        }
        self.detach("closed by this side");
        Ok(())
    }

    async fn cancel(&mut self) -> LinkResult<()> {
        self.cable.round_trip().await?;
        self.cable.shared.lock().cancel(self.id);
        Ok(())
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        self.detach("the subscription was dropped");
    }
}
