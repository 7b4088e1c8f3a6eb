//! What answers lead to.

use super::effect::Step;
use super::event::{Answer, Fault};
use super::state::{MigrationState, Outstanding};
use crate::checkpoint::Checkpoint;
use crate::error::{ErrorKind, Verdict};
use crate::part::Part;
use crate::phase::Phase;
use crate::replay::{HandoverMode, Ownership, ReplayProgress, ReplayStanding};
use crate::time::Timestamp;
use crate::timeline::Milestone;

impl MigrationState {
    pub(super) fn on_answer(&mut self, call: &Outstanding, answer: &Answer, now: Timestamp) {
        match (call.step, answer) {
            (Step::Begin, Answer::Begun(begun)) => {
                self.facts.begun = Some(begun.clone());
                self.poll_again(Step::Progress, now);
                self.leave_pending(now);
            }
            (Step::Prepare, Answer::Done) => {
                self.facts.prepared = true;
                self.issue(Step::AwaitReady, now);
                self.leave_pending(now);
            }
            (Step::AwaitReady, Answer::Done) => {
                self.facts.ready = true;
                if self.phase == Phase::Pending { self.leave_pending(now) } else { self.restore_when_ready(now) }
            }
            (Step::WatchSource, Answer::Source(status)) => self.on_source_status(*status, now),
            (Step::PreDump(round), Answer::PreDumped(pre_dump)) if self.fits(&pre_dump.checkpoint, Part::Round(round)) => {
                self.pre_dumped(round, pre_dump, now);
            }
            (Step::Send(Part::Round(round)), Answer::Sent(receipt)) if receipt.part == Part::Round(round) => {
                self.round_arrived(round, receipt, now);
            }
            (Step::Stage(round), Answer::Done) => self.round_staged(round, now),
            (Step::Park, Answer::Parked(parked)) => {
                self.facts.parked = Some(*parked);
                self.issue(Step::Checkpoint, now);
            }
            (Step::Checkpoint, Answer::Checkpoint(checkpoint)) if self.fits(checkpoint, Part::Final) => {
                self.on_checkpoint(call, checkpoint, now);
            }
            (Step::Resume, Answer::Done) => self.facts.resumed = true,
            (Step::Send(Part::Final), Answer::Sent(receipt)) if receipt.part == Part::Final => {
                self.facts.receipt = Some(receipt.clone());
                self.reach(Milestone::Transferred, now);
                self.restore_when_ready(now);
            }
            (Step::Restore, Answer::Restored(restored)) => {
                self.facts.restored = Some(restored.clone());
                self.reach(Milestone::Restored, now);
                self.enter(Phase::Replaying, now);
                self.hurry(Step::Progress, now);
                self.poll_again(Step::WatchCopy, now);
            }
            (Step::WatchCopy, Answer::Copy(status)) => self.on_copy_status(call, *status, now),
            (Step::Progress, Answer::Progress(progress)) => self.on_progress(progress, now),
            (Step::HandOver, Answer::Owner(Ownership::Copy(cut_over))) => self.commit(cut_over, now),
            (Step::HandOver, Answer::Owner(Ownership::Source { reason })) => self.undo(reason.clone(), false, now),
            (Step::Abort, Answer::Owner(Ownership::Copy(cut_over))) => self.commit(cut_over, now),
            (Step::Abort, Answer::Owner(Ownership::Source { .. })) => self.source_owns(now),
            (Step::Promote, Answer::Done) => {
                self.promoted = true;
                self.complete(now);
            }
            (Step::RetireSource, Answer::Done) => {
                self.source_retired = true;
                self.complete(now);
            }
            (Step::RetireBroker, Answer::Retired(retired)) => {
                self.facts.retired = Some(retired.clone());
                self.removed(Step::RetireBroker, now);
            }
            (Step::DiscardCopy | Step::DiscardTransfer | Step::DiscardCheckpoint, Answer::Done) => self.removed(call.step, now),
            (step, answer) => {
                let message = format!("{step} was answered by {answer:?}");
                self.on_fault(call, &Fault { kind: ErrorKind::Invariant, verdict: Verdict::Fatal, message }, now);
            }
        }
    }

    fn leave_pending(&mut self, now: Timestamp) {
        let Some(begun) = self.facts.begun.as_ref().filter(|_| self.facts.prepared) else { return };
        // Who stands still from the checkpoint on shall wait for nothing that could have been waited for before.
        if begun.mode == HandoverMode::Chase || self.facts.ready {
            self.enter(Phase::Checkpointing, now);
            self.next_round_or_park(now);
        }
    }

    fn restore_when_ready(&mut self, now: Timestamp) {
        if self.facts.receipt.is_some() && self.facts.ready {
            self.enter(Phase::Restoring, now);
            self.issue(Step::Restore, now);
        }
    }

    fn on_checkpoint(&mut self, call: &Outstanding, checkpoint: &Checkpoint, now: Timestamp) {
        self.facts.checkpoint = Some(checkpoint.clone());
        self.facts.checkpoint_took = Some(now.since(call.since));
        let freeze_us = u64::try_from(checkpoint.freeze.as_micros()).unwrap_or(u64::MAX);
        self.reach(Milestone::Frozen, Timestamp::from_micros(now.as_micros().saturating_sub(freeze_us)));
        self.reach(Milestone::Thawed, now);
        self.enter(Phase::Transferring, now);
        let chase = self.facts.begun.as_ref().is_some_and(|begun| begun.mode == HandoverMode::Chase);
        if chase && !self.source_gone {
            self.issue(Step::Resume, now);
        }
        self.issue(Step::Send(Part::Final), now);
    }

    fn on_progress(&mut self, progress: &ReplayProgress, now: Timestamp) {
        self.facts.progress = Some(progress.clone());
        let caught_up = match &progress.standing {
            ReplayStanding::Rejected(reason) => return self.undo(format!("the copy refused itself: {reason}"), false, now),
            ReplayStanding::Aborted(reason) => return self.undo(format!("the journal was aborted: {reason}"), false, now),
            // Only a look, so that the source sees one: whatever a copy says before `restore` has answered is asked again.
            _ if self.phase < Phase::Replaying => false,
            ReplayStanding::Ready | ReplayStanding::CopyOwns => true,
            // Nobody adds to the journal any more: FENCE waits for the rest of the replay.
            ReplayStanding::Replaying => self.source_gone,
            ReplayStanding::AwaitingCopy => false,
        };
        // Neither while RESUME is under way, nor while it is being decided what its failure means.
        if caught_up && self.doubt.is_none() && !self.is_outstanding(Step::Resume) {
            self.reach(Milestone::CaughtUp, now);
            self.enter(Phase::Finalizing, now);
            self.issue(Step::HandOver, now);
        } else {
            self.poll_again(Step::Progress, now);
        }
    }
}
