//! The commit point and what follows it.
//!
//! The migration is committed when `hand_over` or `abort` has said that the copy owns the queue, and by nothing else. Then:
//!
//! 1. `target.promote`: the copy becomes the owner's own instance.
//! 2. `target.status`, again and again until then: the copy lives. Otherwise nobody ends the source: its state is the newest
//!    there is, and a person has to decide. The attention marker is raised at once.
//! 3. `source.retire`: the source is ended for good.
//! 4. `broker.retire`, and the discards at its side. The journal outlives the source, for it is what tells a source that wakes
//!    up late that it owns nothing any more.
//!
//! The first four are repeated until they succeed; deadlines only raise the attention marker. Bytes that cannot be discarded
//! do not hold a finished migration up: after the policy's attempts they are left behind, by name.

use super::effect::Step;
use super::state::{Course, MigrationState};
use crate::phase::Phase;
use crate::replay::CutOver;
use crate::time::Timestamp;
use crate::timeline::Milestone;

impl MigrationState {
    pub(super) fn commit(&mut self, cut_over: &CutOver, now: Timestamp) {
        self.outstanding.clear();
        self.doubt = None;
        self.attention = None;
        self.facts.cut_over = Some(cut_over.clone());
        self.course = Course::Committed;
        // The copy is no trace to remove any more: it is the consumer. A kept checkpoint is no longer all there is.
        self.traces.copy = false;
        self.traces.checkpoint |= std::mem::take(&mut self.left_behind.checkpoint);
        self.traces.transfer |= std::mem::take(&mut self.left_behind.transfer);
        self.enter(Phase::Finalizing, now);
        self.reach(Milestone::CutOver, now);
        // Asked beside the promotion, so that it costs no time.
        self.issue(Step::WatchCopy, now);
        self.complete(now);
    }

    /// Asks for what is still owed, or ends.
    pub(super) fn complete(&mut self, now: Timestamp) {
        if !self.promoted {
            return self.issue(Step::Promote, now);
        }
        if !self.copy_seen {
            return self.issue(Step::WatchCopy, now);
        }
        self.forget(Step::WatchCopy);
        if !self.source_retired {
            return self.issue(Step::RetireSource, now);
        }
        if self.traces.journal {
            self.issue(Step::RetireBroker, now);
        }
        if self.traces.transfer {
            self.issue(Step::DiscardTransfer, now);
        }
        if self.traces.checkpoint {
            self.issue(Step::DiscardCheckpoint, now);
        }
        if self.traces.is_empty() {
            self.enter(Phase::Completed, now);
            self.attention = None;
            self.reach(Milestone::Finished, now);
        }
    }
}
