//! Publishing, and when confirms come.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::Message;
use ms2m_broker::link::{Confirm, LinkResult, Publisher};
use tokio::time::{Instant, timeout_at};

use super::link::Cable;

/// How long a message waits for another publisher's to overtake it.
const OVERTAKEN_AFTER: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct MemoryPublisher {
    pub(super) cable: Arc<Cable>,
    pub(super) id: u64,
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&mut self, queue: &str, message: Message) -> LinkResult<Confirm> {
        self.cable.check()?;
        let (routed, latency) = {
            let mut state = self.cable.shared.lock();
            (state.publish(self.id, queue, message), state.profile.confirm)
        };
        if let Some(queue) = routed.waiting {
            self.cable.shared.after(OVERTAKEN_AFTER, move |state| state.release(&queue));
        }
        if latency.is_zero() {
            return Ok(Box::pin(std::future::ready(routed.verdict)));
        }
        let (due, mut losses) = (Instant::now() + latency, self.cable.losses.clone());
        Ok(Box::pin(async move {
            // A confirm that was on its way when the connection broke never arrives: the publisher cannot know.
            match timeout_at(due, losses.wait_for(Option::is_some)).await.map(|loss| loss.map(|loss| loss.clone())) {
                Ok(Ok(Some((reason, at)))) if at < due => Err(reason),
                _ => routed.verdict,
            }
        }))
    }
}
