//! [`ChannelSink`]: effects to another task of the same process.

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use super::{Effect, EffectSink};

/// Sends effects into a bounded channel; a full one holds the consumer back.
#[derive(Clone, Debug)]
pub struct ChannelSink(mpsc::Sender<Effect>);

impl ChannelSink {
    /// A sink, and where its effects come out. At most `capacity` wait there.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Effect>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }
}

#[async_trait]
impl EffectSink for ChannelSink {
    async fn emit(&mut self, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            let gone = |_| Error::fatal(ErrorKind::Unavailable, "nobody receives this consumer's effects any more");
            self.0.send(effect).await.map_err(gone)?;
        }
        Ok(())
    }
}
