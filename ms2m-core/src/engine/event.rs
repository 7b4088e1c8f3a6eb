//! What the engine is told.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, PreDump, SourceStatus};
use crate::error::{Error, ErrorKind, Verdict};
use crate::replay::{Begun, Ownership, Parked, ReplayProgress, Retired};
use crate::restore::{CopyStatus, Restored};
use crate::transfer::Receipt;

/// Something happened. Events about effects that are no longer outstanding change nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The migration shall begin. Said once; later it changes nothing.
    Start,
    /// A driver has taken the stored state over; whatever ran before is not listened to any more.
    Resumed,
    /// An effect has succeeded.
    Done {
        /// [`Effect::issue`](super::Effect::issue).
        issue: u64,
        /// What it answered.
        answer: Answer,
    },
    /// An effect has failed, or has not answered in time.
    Failed {
        /// [`Effect::issue`](super::Effect::issue).
        issue: u64,
        /// Why.
        fault: Fault,
    },
    /// It is certain that no process of the source is left; somebody else than the engine's own watch may know first.
    SourceGone,
    /// Somebody wants the migration undone. Too late after the commit point; and once the source is gone and its checkpoint
    /// exists it is refused, because it would throw the only state away.
    Cancel {
        /// Who, or why.
        reason: String,
    },
    /// Time has passed.
    Tick,
}

/// What a call answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing but success.
    Done,
    /// To [`Step::Begin`](super::Step::Begin).
    Begun(Begun),
    /// To [`Step::WatchSource`](super::Step::WatchSource).
    Source(SourceStatus),
    /// To [`Step::PreDump`](super::Step::PreDump).
    PreDumped(PreDump),
    /// To [`Step::Park`](super::Step::Park).
    Parked(Parked),
    /// To [`Step::Checkpoint`](super::Step::Checkpoint).
    Checkpoint(Checkpoint),
    /// To [`Step::Send`](super::Step::Send).
    Sent(Receipt),
    /// To [`Step::Restore`](super::Step::Restore).
    Restored(Restored),
    /// To [`Step::WatchCopy`](super::Step::WatchCopy).
    Copy(CopyStatus),
    /// To [`Step::Progress`](super::Step::Progress).
    Progress(ReplayProgress),
    /// To [`Step::HandOver`](super::Step::HandOver) and [`Step::Abort`](super::Step::Abort).
    Owner(Ownership),
    /// To [`Step::RetireBroker`](super::Step::RetireBroker).
    Retired(Retired),
}

/// An [`Error`] as far as the engine needs it, fit to be stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What to do about it.
    pub verdict: Verdict,
    /// For people.
    pub message: String,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), verdict: error.verdict(), message: error.to_string() }
    }
}
