//! Effects: what applied messages cause outside, executed by whoever owns the queue.

mod channel;
mod publish;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::Result;

pub use channel::ChannelSink;
pub use publish::PublishSink;

/// What follows from one message, in order: the payloads of its effects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects(Vec<Bytes>);

impl Effects {
    /// No effect. Costs nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// One effect.
    #[must_use]
    pub fn one(payload: impl Into<Bytes>) -> Self {
        Self(vec![payload.into()])
    }

    /// Adds one more.
    pub fn push(&mut self, payload: impl Into<Bytes>) {
        self.0.push(payload.into());
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_payloads(self) -> Vec<Bytes> {
        self.0
    }
}

impl<P: Into<Bytes>> FromIterator<P> for Effects {
    fn from_iter<I: IntoIterator<Item = P>>(payloads: I) -> Self {
        Self(payloads.into_iter().map(Into::into).collect())
    }
}

/// Names an effect: the same on every attempt and on every node, so that whoever receives it can drop repetitions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EffectId {
    /// The logical consumer: the queue's name.
    pub consumer: String,
    /// The message's number.
    pub n: u64,
    /// Which of its effects, from 0.
    pub i: u32,
}

/// As `consumer/n/i`.
impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.consumer, self.n, self.i)
    }
}

/// One effect on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// Its name.
    pub id: EffectId,
    /// What the handler said.
    pub payload: Bytes,
}

/// Where effects go.
#[async_trait]
pub trait EffectSink: fmt::Debug + Send + 'static {
    /// Lets effects out, in order. `Ok` when all of them are safe where they go: the messages behind them are acknowledged then.
    ///
    /// # Errors
    /// After any error the same effects come again, with the same ids, also those that had gone out.
    async fn emit(&mut self, effects: Vec<Effect>) -> Result<()>;
}

/// Throws effects away: for handlers that have none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEffects;

#[async_trait]
impl EffectSink for NoEffects {
    async fn emit(&mut self, _: Vec<Effect>) -> Result<()> {
        Ok(())
    }
}
