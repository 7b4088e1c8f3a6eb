//! The sink's side: numbers, repetitions and the state that must follow from the sequence.

use std::collections::BTreeMap;
use std::fmt;

use ms2m_core::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One effect as the sink has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EffectRecord {
    /// Which message of the consumer it belongs to: 1 for the first it ever applied.
    pub consumer_n: u64,
    /// Which of that message's effects it is, from 0.
    pub index: u32,
    /// Who published the message.
    pub publisher: String,
    /// The publisher's number of it.
    pub seq: u64,
    /// SHA-256 of the body as applied.
    pub body_digest: Digest,
    /// The consumer's state after it.
    pub state_digest: Digest,
}

impl EffectRecord {
    pub(super) fn id(&self) -> impl fmt::Display + use<> {
        let (n, index) = (self.consumer_n, self.index);
        fmt::from_fn(move |f| if index == 0 { write!(f, "#{n}") } else { write!(f, "#{n}.{index}") })
    }

    /// Everything in it, as 128 bits of a hash.
    fn fingerprint(&self) -> u128 {
        let mut hash = Sha256::new();
        hash.update(self.publisher.as_bytes());
        hash.update(self.seq.to_be_bytes());
        hash.update(self.body_digest.as_bytes());
        hash.update(self.state_digest.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        hash[..16].iter().fold(0, |value, byte| value << 8 | u128::from(*byte))
    }
}

/// The state of an audited consumer after its message `n`:
/// `SHA-256(state || n || length of publisher || publisher || seq || SHA-256(body))`, integers as 8 bytes big endian;
/// the state before the first message is 32 zero bytes.
///
/// Consumers under audit compute this with code of their own.
#[must_use]
pub fn fold(state: Digest, n: u64, publisher: &str, seq: u64, body: Digest) -> Digest {
    let hash = Sha256::new()
        .chain_update(state.as_bytes())
        .chain_update(n.to_be_bytes())
        .chain_update((publisher.len() as u64).to_be_bytes())
        .chain_update(publisher)
        .chain_update(seq.to_be_bytes())
        .chain_update(body.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// What an effect's number says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Numbering {
    /// The first effect of the next message.
    Next,
    /// One more effect of the last message.
    FurtherOfSame,
    /// A number further ahead.
    Skipped,
    /// A number from before with the same content.
    Repeated,
    /// A number from before, with other content or so old that it is forgotten.
    Conflict,
}

#[derive(Debug, Default)]
pub(super) struct EffectLog {
    last: u64,
    last_index: u32,
    /// What the last message was.
    current: Option<(String, u64, Digest)>,
    state: Digest,
    recent: BTreeMap<(u64, u32), u128>,
}

impl EffectLog {
    pub(super) fn expected(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn number(&mut self, effect: &EffectRecord, window: usize) -> Numbering {
        let id = (effect.consumer_n, effect.index);
        let fingerprint = effect.fingerprint();
        let numbering = if effect.consumer_n == self.last + 1 && effect.index == 0 {
            Numbering::Next
        } else if effect.consumer_n > self.last {
            Numbering::Skipped
        } else if let Some(before) = self.recent.get(&id) {
            return if *before == fingerprint { Numbering::Repeated } else { Numbering::Conflict };
        } else if effect.consumer_n == self.last && effect.index == self.last_index + 1 && self.is_current(effect) {
            Numbering::FurtherOfSame
        } else {
            return Numbering::Conflict;
        };
        self.recent.insert(id, fingerprint);
        self.last_index = effect.index;
        while self.recent.len() > window {
            self.recent.pop_first();
        }
        numbering
    }

    fn is_current(&self, effect: &EffectRecord) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|(publisher, seq, body)| *publisher == effect.publisher && *seq == effect.seq && *body == effect.body_digest)
            && self.state == effect.state_digest
    }

    /// Goes on to the effect's message; `false` when the state there does not follow. The reported state is taken over
    /// then, so that one fault is found once.
    pub(super) fn accept(&mut self, effect: &EffectRecord, numbering: Numbering) -> bool {
        if numbering == Numbering::Conflict {
            // Another history of the same numbers; it has been counted, and the next new number will show whose state goes on.
            return true;
        }
        let expected = fold(self.state, effect.consumer_n, &effect.publisher, effect.seq, effect.body_digest);
        self.last = effect.consumer_n;
        self.state = effect.state_digest;
        self.current = Some((effect.publisher.clone(), effect.seq, effect.body_digest));
        expected == effect.state_digest
    }

    pub(super) fn remembered(&self) -> usize {
        self.recent.len()
    }
}
