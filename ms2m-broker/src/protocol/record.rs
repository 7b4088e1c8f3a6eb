//! What is written to the journal: the one log that decides who owns a queue.
//!
//! Everybody who takes part in a migration appends to the same log and reads it back from its start. Nobody acts on what it
//! has written, only on what it has read: the log's order is the order of events.

use bytes::Bytes;
use ms2m_core::{Digest, HandoverChoice, InstanceId, MigrationId, Protocol};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::link::LinkError;
use crate::message::Message;

/// Version of the encoding, the first byte of every record. Readers refuse any other.
pub const RECORD_VERSION: u8 = 2;

/// Room a record needs beyond the message in it, in bytes: digest, number, determinants of ordinary size.
pub const RECORD_OVERHEAD_BYTES: usize = 1024;

/// Eight bytes that tell one migration's records from another's, so that a writer left over from an earlier migration of
/// the same queue is not heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MigrationTag(u64);

impl MigrationTag {
    /// The tag of a migration.
    #[must_use]
    pub fn of(migration: &MigrationId) -> Self {
        let hash: [u8; 32] = Sha256::digest(migration.as_str()).into();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }
}

/// Values that a handler took from outside while it applied a message, in the order in which it asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Determinants(pub Vec<Bytes>);

/// How far a handler can be trusted to do the same again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Determinism {
    /// `apply` depends on state and message alone.
    Pure,
    /// Also on time, random numbers or reads, all taken through the SDK, which records them.
    Recorded,
    /// Not deterministic, or nobody has promised it.
    #[default]
    Unknown,
}

/// Which side wrote a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The consumer that moves away.
    Source,
    /// The one that takes over.
    Copy,
}

/// The first record of a migration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// Which migration.
    pub migration: MigrationId,
    /// The primary queue.
    pub queue: String,
    /// Who moves away.
    pub source: InstanceId,
    /// Who takes over.
    pub copy: InstanceId,
    /// The mode asked for.
    pub mode: HandoverChoice,
    /// Largest journal record, in bytes.
    pub record_bytes_max: u64,
}

/// The source's word that it takes part.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// Last message applied before the journal began: later ones are in it.
    pub n: u64,
    /// Its prefetch.
    pub window: u16,
    /// [`Protocol::Journal`] or [`Protocol::Offset`], by the type of its queue.
    pub protocol: Protocol,
    /// What it says of its handler.
    pub determinism: Determinism,
    /// Name of its connection, for the fence.
    pub connection: String,
}

/// One message that the source has applied.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its number; dense.
    pub n: u64,
    /// The digest chain after it.
    pub digest: Digest,
    /// The whole message: headers would be changed on their way through a stream.
    pub message: Message,
    /// What the handler took from outside.
    pub determinants: Determinants,
}

/// The source has stopped for good at `n`. With a READY before it this is the commit point.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct End {
    /// The last message applied.
    pub n: u64,
    /// The digest chain there.
    pub digest: Digest,
    /// Messages delivered to the source but not applied, in order, as far as they fit into one record.
    pub next: Vec<Message>,
    /// When the last apply ended at the source, in microseconds since the Unix epoch; 0 when it has applied nothing.
    pub last_applied_at_us: u64,
}

/// One entry of the journal.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Record {
    /// Controller: a migration begins. The first one in a journal is the only one.
    Begin(Begin),
    /// Source: takes part from here on.
    Joined(Joined),
    /// Controller: stop at the next safe point.
    Park,
    /// Source: parked, everything before is flushed.
    Parked {
        /// Last message applied.
        n: u64,
        /// Digest chain there.
        digest: Digest,
    },
    /// Controller: the checkpoint is taken, go on.
    Resume,
    /// Source: a message was applied (queues).
    Applied(Box<Applied>),
    /// Source: applied and flushed up to here (streams, where the queue is the log).
    SourceProgress {
        /// Last message applied and flushed.
        n: u64,
        /// Digest chain there.
        digest: Digest,
    },
    /// Copy: lives, and stands where the checkpoint was taken.
    CopyJoined {
        /// Last message in its state.
        n: u64,
        /// Name of its connection, for the fence.
        connection: String,
    },
    /// Controller: a place in the log to read up to, before anything is concluded from what is not there.
    Mark {
        /// Tells one mark from another.
        nonce: u64,
    },
    /// Either side: connected again. It acts only after it has read this back, and with it all that came before.
    Rejoined {
        /// Which side.
        role: Role,
        /// How often it has reconnected.
        count: u32,
    },
    /// Copy: has applied up to here. After the cut-over with effects on.
    CopyProgress {
        /// Last message applied.
        n: u64,
        /// When it applied its first own message, in microseconds since the Unix epoch; 0 when it has not.
        first_applied_at_us: u64,
        /// From when on that message could have been served, in microseconds since the Unix epoch.
        available_at_us: u64,
    },
    /// Controller: work at this share of the service rate, so that the copy can catch up; 1000 releases the brake.
    Brake {
        /// Thousandths of the full rate.
        permille: u16,
    },
    /// Copy: lag is below the limit.
    Ready {
        /// Last message applied.
        n: u64,
    },
    /// Controller: stop and write END.
    HandOver,
    /// Source: has stopped.
    End(End),
    /// Controller: it is certain that the source is gone; the copy takes over with FENCE.
    FailOver,
    /// Copy: the source is off the queue without END (it crashed, or the broker promoted the copy). Counts as END and TAKEN.
    Fence {
        /// Last message applied when it was written.
        n: u64,
        /// The copy's digest there.
        digest: Digest,
    },
    /// Copy: refuses itself.
    Reject {
        /// Why.
        reason: String,
    },
    /// Copy: stands at END with the same digest and takes the queue.
    Taken {
        /// END's number.
        n: u64,
        /// The copy's digest there.
        digest: Digest,
    },
    /// Anyone, before END: it does not happen.
    Abort {
        /// Why.
        reason: String,
    },
    /// After END and before TAKEN: the source goes on.
    TakeBack {
        /// Why.
        reason: String,
    },
    /// Controller: all is decided, leave the journal.
    Retire,
    /// Either side: works without the journal from here on.
    Left {
        /// Which side.
        role: Role,
        /// Last message applied.
        n: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Entry<R> {
    tag: MigrationTag,
    record: R,
}

impl Record {
    /// Encodes for the journal: a version byte, the migration's tag, the record.
    ///
    /// # Errors
    /// [`LinkError::Corrupt`] should the encoder fail.
    pub fn encode(&self, tag: MigrationTag) -> Result<Bytes, LinkError> {
        let entry = Entry { tag, record: self };
        postcard::to_extend(&entry, vec![RECORD_VERSION])
            .map(Bytes::from)
            .map_err(|error| LinkError::Corrupt(format!("journal record: {error}")))
    }

    /// Decodes an entry. `None`: it belongs to another migration.
    ///
    /// # Errors
    /// [`LinkError::Corrupt`]: another version, or no record at all.
    pub fn decode(bytes: &[u8], tag: MigrationTag) -> Result<Option<Self>, LinkError> {
        let (found, record) = Self::decode_any(bytes)?;
        Ok((found == tag).then_some(record))
    }

    /// Decodes an entry of any migration.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_any(bytes: &[u8]) -> Result<(MigrationTag, Self), LinkError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| LinkError::Corrupt("empty journal record".into()))?;
        if *version != RECORD_VERSION {
            return Err(LinkError::Corrupt(format!("journal record of version {version}; this program reads version {RECORD_VERSION}")));
        }
        let entry: Entry<Self> = postcard::from_bytes(rest).map_err(|error| LinkError::Corrupt(format!("journal record: {error}")))?;
        Ok((entry.tag, entry.record))
    }
}

/// The journal of a queue. One name per queue: it is also the lock that admits one migration at a time, and what a
/// starting consumer looks for before it consumes.
#[must_use]
pub fn journal_name(queue: &str) -> String {
    format!("ms2m.journal.{queue}")
}

/// Where a consumer listens for invitations to a journal.
#[must_use]
pub fn control_name(instance: &InstanceId) -> String {
    format!("ms2m.control.{instance}")
}
