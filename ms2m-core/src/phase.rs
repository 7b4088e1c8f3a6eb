//! The phases of a migration, as status, events and metrics show them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a migration stands. Names are those of the field and appear in the status unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// Preflight, journal, target prepared. The source works as before.
    Pending,
    /// The source is parked and checkpointed.
    Checkpointing,
    /// The checkpoint travels; the source works (Chase) or waits (Hold).
    Transferring,
    /// The copy is being restored.
    Restoring,
    /// The copy applies what the source has applied since the checkpoint.
    Replaying,
    /// The queue changes hands; then clean-up.
    Finalizing,
    /// The copy owns the queue and the source is gone.
    Completed,
    /// The migration did not happen: the outcome says whether it was rolled back.
    Failed,
}

impl Phase {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "Pending",
            Self::Checkpointing => "Checkpointing",
            Self::Transferring => "Transferring",
            Self::Restoring => "Restoring",
            Self::Replaying => "Replaying",
            Self::Finalizing => "Finalizing",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        })
    }
}
