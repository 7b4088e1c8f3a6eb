//! [`ReplayBroker`]: how the copy catches up and the queue changes hands.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Result;
use crate::id::{InstanceId, MigrationId};
use crate::time::Timestamp;

/// Which log decides about positions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The source journals what it applies (queues).
    Journal,
    /// The queue is a log itself; positions are its offsets (streams).
    Offset,
    /// A relay orders messages for consumers without numbers.
    Relay,
    /// The published bind-a-second-queue scheme: a baseline, not exact.
    Mirror,
    /// There is no queue: nobody runs between the checkpoint and the copy's first instruction.
    Standstill,
}

/// What the source does between checkpoint and hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverMode {
    /// It works on; the copy replays. Asks for a deterministic handler.
    Chase,
    /// It stays parked; nothing is replayed. Asks for nothing.
    Hold,
}

/// The mode as a user asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverChoice {
    /// [`HandoverMode::Chase`] where the consumer says that it is deterministic, else [`HandoverMode::Hold`].
    #[default]
    Auto,
    /// Always [`HandoverMode::Chase`]; refused when the consumer says that it is not deterministic.
    Chase,
    /// Always [`HandoverMode::Hold`].
    Hold,
}

/// One queue to hand over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplayJob {
    /// The migration that owns the journal.
    pub migration: MigrationId,
    /// The primary queue.
    pub queue: String,
    /// The consumer that works on it now.
    pub source: InstanceId,
    /// The consumer that will.
    pub copy: InstanceId,
    /// Which mode is wanted.
    pub mode: HandoverChoice,
}

/// What [`ReplayBroker::begin`] found and decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// Which log decides.
    pub protocol: Protocol,
    /// The mode taken; for `Auto` the consumer's own word decided.
    pub mode: HandoverMode,
    /// How many messages the source had applied when it joined.
    pub applied: u64,
}

/// Where the source is parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parked {
    /// The last message applied.
    pub n: u64,
    /// The digest chain there.
    pub digest: Digest,
}

/// What stands in the way of, or has decided, the hand-over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReplayStanding {
    /// The copy has not said that it lives.
    AwaitingCopy,
    /// The copy applies the past.
    Replaying,
    /// The copy has said READY: lag is below the limit.
    Ready,
    /// The copy owns the queue already: the broker promoted it when the source's connection ended.
    CopyOwns,
    /// The copy refuses itself, for example because digests differ.
    Rejected(String),
    /// Somebody has aborted: the source by its own patience, or a limit.
    Aborted(String),
}

/// How far the copy is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Last message the source is known to have applied.
    pub source_n: u64,
    /// Last message the copy is known to have applied.
    pub copy_n: u64,
    /// What decides next.
    pub standing: ReplayStanding,
}

impl ReplayProgress {
    /// Messages between source and copy.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.source_n.saturating_sub(self.copy_n)
    }
}

/// How to end the chase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HandOverJob {
    /// The migration.
    pub migration: MigrationId,
    /// Whether it is certain that the source has ended ([`crate::SourceStatus::Gone`]): then the copy takes over by FENCE.
    pub source_gone: bool,
    /// How long source and copy may take together.
    pub deadline: Duration,
}

/// How a hand-over, or an abort, ended. The journal decides; this only tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ownership {
    /// The copy owns the queue.
    Copy(CutOver),
    /// The source owns the queue and works as without a migration.
    Source {
        /// Why it did not change hands.
        reason: String,
    },
}

/// Figures of the moment in which the queue changed hands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CutOver {
    /// The last message applied by the source.
    pub n: u64,
    /// The source's digest there; `None` when it crashed (FENCE).
    pub digest_source: Option<Digest>,
    /// The copy's digest there.
    pub digest_copy: Option<Digest>,
    /// End of the last apply at the source.
    pub source_last_applied: Option<Timestamp>,
    /// When the copy applied its first own message, with effects on, while a message was available.
    pub copy_first_applied: Option<Timestamp>,
    /// The time in which nobody served although a message was there. `None` until the copy has applied one.
    pub cutover_gap: Option<Duration>,
}

/// What the journal counted. These are the migration's own figures; the auditor's are independent of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Retired {
    /// Messages the source had applied in all.
    pub applied_by_source: u64,
    /// Messages written to the journal.
    pub journaled: u64,
    /// Messages the copy replayed with effects off.
    pub replayed: u64,
    /// Messages the copy has applied with effects on so far.
    pub applied_by_target: u64,
    /// The cut-over with everything known at the end.
    pub cut_over: Option<CutOver>,
}

/// Hands queues over.
///
/// # Contract
/// - Between [`begin`](Self::begin) and [`retire`](Self::retire) no message is lost, doubled or reordered.
/// - Ownership is a function of one log: whatever is called, and however often, at most one of source and copy applies from the queue.
/// - Every call is idempotent by migration id, also from another process after a crash, and ends within its deadline.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ReplayBroker: fmt::Debug + Send + Sync + 'static {
    /// The broker's name in reports, for example `rabbitmq`, `memory`.
    fn name(&self) -> &'static str;

    /// Preflight, the journal, and the source's word that it takes part.
    ///
    /// # Errors
    /// `NotFound` (queue, or a consumer without SDK), `Unauthorized`, `AlreadyExists` (the queue is migrating), `Unsupported`.
    /// After an error the source works as before.
    async fn begin(&self, job: &ReplayJob) -> Result<Begun>;

    /// Stops the source at a safe point; it keeps its connection. Answers where it stands.
    ///
    /// # Errors
    /// `Timeout` when the source does not answer.
    async fn park(&self, migration: &MigrationId) -> Result<Parked>;

    /// Lets a parked source go on (Chase, after the checkpoint).
    ///
    /// # Errors
    /// When the journal cannot be written.
    async fn resume(&self, migration: &MigrationId) -> Result<()>;

    /// How far the copy is. Asked from [`begin`](Self::begin) on, long before there is a copy: where the source leaves a
    /// migration that nobody drives any more, this is the sign of life that keeps it, and it must be seen by the source.
    ///
    /// # Errors
    /// When the journal cannot be read.
    async fn progress(&self, migration: &MigrationId) -> Result<ReplayProgress>;

    /// Hands the queue over. Only when this has said [`Ownership::Copy`], or might have, the migration cannot roll back.
    ///
    /// # Errors
    /// When the outcome could not be learned. The next call, or [`abort`](Self::abort), learns it from the journal.
    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership>;

    /// Gives the queue back to the source unless the copy has it already; says who owns it.
    ///
    /// # Errors
    /// When that could not be learned.
    async fn abort(&self, migration: &MigrationId, reason: &str) -> Result<Ownership>;

    /// Ends the migration: tells both sides, waits until they have left, removes the journal. `source_gone`: it is certain
    /// that the source has ended, so nobody waits for its word. A copy that does not own the queue has been discarded before.
    /// A second call answers with the same figures as far as they are known.
    ///
    /// # Errors
    /// When a side has not left in time. The journal stays, and with it the guard against two owners.
    async fn retire(&self, migration: &MigrationId, source_gone: bool) -> Result<Retired>;
}
