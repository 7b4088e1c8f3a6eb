//! What an ended migration has left behind is removed later, when whoever holds it can be reached again.

use super::effect::{Effect, Step};
use super::rollback::trace_of;
use super::state::{Course, MigrationState, Outstanding, Traces};
use crate::time::Timestamp;

/// In this order: as long as a copy lives the journal keeps it away from the queue.
pub(crate) const SWEPT: [Step; 4] = [Step::DiscardCopy, Step::DiscardTransfer, Step::DiscardCheckpoint, Step::RetireBroker];

impl MigrationState {
    /// What an ended migration has left behind and nobody needs any more: see [`Driver::sweep`](crate::Driver::sweep). Where the source is gone and its copy did not make
    /// it, the checkpoint is not among that: it is all there is of the state.
    #[must_use]
    pub fn removable(&self) -> Traces {
        if !self.is_final() {
            return Traces::default();
        }
        let kept = self.course != Course::Committed && self.is_rescue();
        let left = self.left_behind;
        Traces { transfer: left.transfer && !kept, checkpoint: left.checkpoint && !kept, ..left }
    }

    /// The call that removes it, if there is something to remove by this step now.
    pub(crate) fn sweep(&self, step: Step, now: Timestamp) -> Option<Effect> {
        let mut removable = self.removable();
        removable.journal &= !removable.copy;
        trace_of(&mut removable, step).filter(|trace| **trace)?;
        let call = Outstanding { step, issue: self.next_issue, attempt: 1, not_before: now, since: now };
        Some(Effect { limit: self.spec.deadlines.call, ..self.effect(&call, now)? })
    }

    /// It has been removed.
    pub(crate) fn swept(&mut self, step: Step) {
        if let Some(trace) = trace_of(&mut self.left_behind, step) {
            *trace = false;
        }
    }
}
