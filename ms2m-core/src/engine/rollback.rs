//! The way back, up to the commit point.
//!
//! 1. `abort`, if there may be a journal. It arbitrates: the journal alone says who owns the queue, and a take-back fences the
//!    copy by itself. While it has not answered nothing of the copy is touched, because a copy that has taken over already is
//!    the only one with the newest state. If it says that the copy owns the queue, the migration goes forward.
//! 2. `target.discard`, only now: the copy owns nothing, and after it none is left.
//! 3. `transfer.discard` and `source.discard`, and at their side `broker.retire`: as long as a copy lives the journal is what
//!    keeps that copy away from the queue. If the copy could not be ended for certain the journal stays. It does not wait for
//!    the bytes, whose place may not answer until the deadline.
//!
//! What cannot be removed before the deadline is left behind and named in the reason. When the source is gone and the copy
//! did not make it, checkpoint and transferred bytes are kept: they are all there is of the state.

use super::effect::Step;
use super::state::{Course, MigrationState, Traces, Undo};
use crate::phase::Phase;
use crate::time::Timestamp;
use crate::timeline::Milestone;

impl MigrationState {
    /// Turns round. Whatever is under way is dropped; the clean-up takes care of what it may have done.
    pub(super) fn undo(&mut self, reason: String, cancelled: bool, now: Timestamp) {
        self.outstanding.clear();
        self.doubt = None;
        self.entered = now;
        if self.is_rescue() {
            self.left_behind.checkpoint = std::mem::take(&mut self.traces.checkpoint);
            self.left_behind.transfer = std::mem::take(&mut self.traces.transfer);
        }
        self.course = Course::Undoing(Undo { reason, cancelled, source_owns: false });
        if self.traces.journal {
            self.issue(Step::Abort, now);
        } else {
            self.source_owns(now);
        }
    }

    /// The source owns the queue, certainly and for good.
    pub(super) fn source_owns(&mut self, now: Timestamp) {
        if let Course::Undoing(undo) = &mut self.course {
            undo.source_owns = true;
        }
        self.entered = now;
        self.attention = None;
        self.clean_up(now);
    }

    fn clean_up(&mut self, now: Timestamp) {
        let Traces { journal, copy, transfer, checkpoint } = self.traces;
        if copy {
            self.issue(Step::DiscardCopy, now);
            return;
        }
        let retires = journal && !self.left_behind.copy;
        let owed = [(transfer, Step::DiscardTransfer), (checkpoint, Step::DiscardCheckpoint), (retires, Step::RetireBroker)];
        for (_, step) in owed.into_iter().filter(|(owed, _)| *owed) {
            self.issue(step, now);
        }
        if !owed.iter().any(|(owed, _)| *owed) {
            self.left_behind.journal |= std::mem::take(&mut self.traces.journal);
            self.fail(now);
        }
    }

    /// A clean-up call has succeeded.
    pub(super) fn removed(&mut self, step: Step, now: Timestamp) {
        if let Some(trace) = trace_of(&mut self.traces, step) {
            *trace = false;
        }
        self.clean_on(now);
    }

    /// A clean-up call will not be repeated.
    pub(super) fn leave_behind(&mut self, step: Step, now: Timestamp) {
        if let Some(trace) = trace_of(&mut self.traces, step) {
            *trace = false;
        }
        if let Some(trace) = trace_of(&mut self.left_behind, step) {
            *trace = true;
        }
        self.clean_on(now);
    }

    fn clean_on(&mut self, now: Timestamp) {
        if self.course == Course::Committed {
            self.complete(now);
        } else {
            self.clean_up(now);
        }
    }

    /// The deadline for cleaning up has passed; the source works, so this may end.
    pub(super) fn give_up_cleaning(&mut self, now: Timestamp) {
        let Traces { journal, copy, transfer, checkpoint } = std::mem::take(&mut self.traces);
        self.left_behind.journal |= journal;
        self.left_behind.copy |= copy;
        self.left_behind.transfer |= transfer;
        self.left_behind.checkpoint |= checkpoint;
        self.fail(now);
    }

    fn fail(&mut self, now: Timestamp) {
        self.outstanding.clear();
        self.enter(Phase::Failed, now);
        self.reach(Milestone::Finished, now);
    }
}

pub(super) fn trace_of(traces: &mut Traces, step: Step) -> Option<&mut bool> {
    match step {
        Step::RetireBroker => Some(&mut traces.journal),
        Step::DiscardCopy => Some(&mut traces.copy),
        Step::DiscardTransfer => Some(&mut traces.transfer),
        Step::DiscardCheckpoint => Some(&mut traces.checkpoint),
        _ => None,
    }
}
