//! How long each part of a migration may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// Limits per phase, counted from its beginning, and per call.
///
/// Before the commit point an expired limit rolls back. After it, and while it is unknown who owns the queue, an expired
/// limit only raises the attention marker: the effects are repeated until they succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// Preflight, journal and target.
    pub pending: Duration,
    /// All pre-dump rounds with their transfers. An expired limit only ends the rounds.
    pub pre_dumping: Duration,
    /// PARK and dump. In it the source stands still for a while.
    pub checkpointing: Duration,
    /// The checkpoint's way to the target.
    pub transferring: Duration,
    /// The restore.
    pub restoring: Duration,
    /// How long the copy may take to catch up. Past it arrivals are faster than the replay.
    pub replaying: Duration,
    /// The hand-over with its repetitions. Of a source whose machine has died without a word a broker holds the consumer until its heartbeats are missed, up to 30 s.
    pub finalizing: Duration,
    /// One call that hands over.
    pub hand_over: Duration,
    /// Promoting the copy and cleaning up after the commit point, before somebody should look.
    pub completing: Duration,
    /// Learning who owns the queue; and once more for cleaning up after that.
    pub rolling_back: Duration,
    /// Any single short call: a question, PARK, RESUME, the clean-up calls.
    pub call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            pending: seconds(60),
            pre_dumping: seconds(600),
            checkpointing: seconds(60),
            transferring: seconds(600),
            restoring: seconds(120),
            replaying: seconds(300),
            finalizing: seconds(60),
            hand_over: seconds(10),
            completing: seconds(60),
            rolling_back: seconds(60),
            call: seconds(15),
        }
    }
}

impl Deadlines {
    /// The limit of a phase on the way forward.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Pending => self.pending,
            Phase::Checkpointing => self.checkpointing,
            Phase::Transferring => self.transferring,
            Phase::Restoring => self.restoring,
            Phase::Replaying => self.replaying,
            Phase::Finalizing => self.finalizing,
            Phase::Completed | Phase::Failed => Duration::MAX,
        }
    }
}
