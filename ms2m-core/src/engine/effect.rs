//! What the engine wants done.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointJob};
use crate::id::MigrationId;
use crate::part::Part;
use crate::replay::{HandOverJob, ReplayJob};
use crate::restore::RestoreJob;
use crate::transfer::{Receipt, TransferJob};

/// The calls a migration consists of. Each is idempotent by migration id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// [`ReplayBroker::begin`](crate::ReplayBroker::begin)
    Begin,
    /// [`RestoreTarget::prepare`](crate::RestoreTarget::prepare)
    Prepare,
    /// [`RestoreTarget::await_ready`](crate::RestoreTarget::await_ready)
    AwaitReady,
    /// [`CheckpointSource::status`](crate::CheckpointSource::status), again and again
    WatchSource,
    /// [`CheckpointSource::pre_dump`](crate::CheckpointSource::pre_dump) with its round, from 1
    PreDump(u32),
    /// [`ReplayBroker::park`](crate::ReplayBroker::park)
    Park,
    /// [`CheckpointSource::checkpoint`](crate::CheckpointSource::checkpoint)
    Checkpoint,
    /// [`ReplayBroker::resume`](crate::ReplayBroker::resume)
    Resume,
    /// [`CheckpointSource::open`](crate::CheckpointSource::open) into [`TransferBackend::send`](crate::TransferBackend::send)
    Send(Part),
    /// [`RestoreTarget::stage`](crate::RestoreTarget::stage) with its round
    Stage(u32),
    /// [`RestoreTarget::restore`](crate::RestoreTarget::restore)
    Restore,
    /// [`RestoreTarget::status`](crate::RestoreTarget::status), again and again
    WatchCopy,
    /// [`ReplayBroker::progress`](crate::ReplayBroker::progress), again and again
    Progress,
    /// [`ReplayBroker::hand_over`](crate::ReplayBroker::hand_over)
    HandOver,
    /// [`RestoreTarget::promote`](crate::RestoreTarget::promote)
    Promote,
    /// [`CheckpointSource::retire`](crate::CheckpointSource::retire)
    RetireSource,
    /// [`ReplayBroker::retire`](crate::ReplayBroker::retire)
    RetireBroker,
    /// [`ReplayBroker::abort`](crate::ReplayBroker::abort)
    Abort,
    /// [`RestoreTarget::discard`](crate::RestoreTarget::discard)
    DiscardCopy,
    /// [`TransferBackend::discard`](crate::TransferBackend::discard)
    DiscardTransfer,
    /// [`CheckpointSource::discard`](crate::CheckpointSource::discard)
    DiscardCheckpoint,
}

impl Step {
    /// Whether it only asks, and is asked again and again.
    #[must_use]
    pub fn is_poll(self) -> bool {
        matches!(self, Self::WatchSource | Self::WatchCopy | Self::Progress)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin => "begin",
            Self::Prepare => "prepare",
            Self::AwaitReady => "await readiness",
            Self::WatchSource => "watch source",
            Self::PreDump(round) => return write!(f, "pre-dump {round}"),
            Self::Park => "park",
            Self::Checkpoint => "checkpoint",
            Self::Resume => "resume",
            Self::Send(Part::Final) => "send",
            Self::Send(Part::Round(round)) => return write!(f, "send round {round}"),
            Self::Stage(round) => return write!(f, "stage round {round}"),
            Self::Restore => "restore",
            Self::WatchCopy => "watch copy",
            Self::Progress => "progress",
            Self::HandOver => "hand over",
            Self::Promote => "promote",
            Self::RetireSource => "retire source",
            Self::RetireBroker => "retire journal",
            Self::Abort => "abort",
            Self::DiscardCopy => "discard copy",
            Self::DiscardTransfer => "discard transfer",
            Self::DiscardCheckpoint => "discard checkpoint",
        })
    }
}

/// Names an effect: performing it twice under one key equals performing it once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EffectKey {
    /// The migration.
    pub migration: MigrationId,
    /// The call.
    pub step: Step,
}

/// One call to make, with everything it needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Effect {
    /// What it is, for idempotence.
    pub key: EffectKey,
    /// Which time of asking this is; its event carries it back. Unique within a migration.
    pub issue: u64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How long to wait before the call.
    pub delay: Duration,
    /// How long the call may take; then it has failed with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub limit: Duration,
    /// The call with its arguments.
    pub call: Call,
}

/// A call with its arguments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// See [`Step::Begin`].
    Begin(ReplayJob),
    /// See [`Step::Prepare`].
    Prepare(RestoreJob),
    /// See [`Step::AwaitReady`].
    AwaitReady(RestoreJob),
    /// See [`Step::WatchSource`].
    WatchSource,
    /// See [`Step::PreDump`].
    PreDump {
        /// The job.
        job: CheckpointJob,
        /// From 1.
        round: u32,
    },
    /// See [`Step::Park`].
    Park,
    /// See [`Step::Checkpoint`].
    Checkpoint(CheckpointJob),
    /// See [`Step::Resume`].
    Resume,
    /// See [`Step::Send`].
    Send {
        /// The job.
        job: TransferJob,
        /// What to open at the source.
        checkpoint: Checkpoint,
        /// See [`MigrationSpec::bytes_per_s_max`](super::MigrationSpec::bytes_per_s_max).
        bytes_per_s_max: Option<NonZeroU64>,
    },
    /// See [`Step::Stage`].
    Stage {
        /// The job.
        job: RestoreJob,
        /// What has arrived.
        receipt: Receipt,
    },
    /// See [`Step::Restore`].
    Restore {
        /// The job.
        job: RestoreJob,
        /// What has arrived: every part on which the final one builds, in order.
        receipts: Vec<Receipt>,
    },
    /// See [`Step::WatchCopy`].
    WatchCopy,
    /// See [`Step::Progress`].
    Progress,
    /// See [`Step::HandOver`].
    HandOver(HandOverJob),
    /// See [`Step::Promote`].
    Promote,
    /// See [`Step::RetireSource`].
    RetireSource,
    /// See [`Step::RetireBroker`].
    RetireBroker {
        /// Whether it is certain that the source has ended.
        source_gone: bool,
    },
    /// See [`Step::Abort`].
    Abort {
        /// Why, as it will stand in the journal.
        reason: String,
    },
    /// See [`Step::DiscardCopy`].
    DiscardCopy,
    /// See [`Step::DiscardTransfer`].
    DiscardTransfer,
    /// See [`Step::DiscardCheckpoint`].
    DiscardCheckpoint,
}
