//! From what is outstanding to the effects that say how to call it.

use std::time::Duration;

use super::effect::{Call, Effect, EffectKey, Step};
use super::state::{Course, MigrationState, Outstanding};
use crate::checkpoint::CheckpointJob;
use crate::part::Part;
use crate::phase::Phase;
use crate::replay::{HandOverJob, ReplayJob};
use crate::restore::RestoreJob;
use crate::time::Timestamp;
use crate::transfer::TransferJob;

/// Questions are never asked more often than this.
const POLL_MIN: Duration = Duration::from_millis(1);

impl MigrationState {
    /// Asks for a call, unless it is outstanding already.
    pub(super) fn issue(&mut self, step: Step, now: Timestamp) {
        self.issue_after(step, Duration::ZERO, now);
    }

    /// Asks for a call after a pause, unless it is outstanding already.
    pub(super) fn issue_after(&mut self, step: Step, pause: Duration, now: Timestamp) {
        if !self.is_outstanding(step) {
            self.push(Outstanding { step, issue: 0, attempt: 1, not_before: now.after(pause), since: now });
        }
    }

    /// Asks a question that may be waiting for its interval at once. One that is being asked is left to its answer.
    pub(super) fn hurry(&mut self, step: Step, now: Timestamp) {
        self.outstanding.retain(|call| call.step != step || call.not_before <= now);
        self.issue(step, now);
    }

    /// Asks the same question again after its interval.
    pub(super) fn poll_again(&mut self, step: Step, now: Timestamp) {
        let every = match step {
            Step::WatchSource => self.spec.source_every,
            Step::WatchCopy => self.spec.copy_every,
            _ if self.phase < Phase::Replaying => self.spec.contact_every,
            _ => self.spec.progress_every,
        };
        self.issue_after(step, every.max(POLL_MIN), now);
    }

    /// Asks for a failed call once more, unless it was asked for again meanwhile.
    pub(super) fn repeat(&mut self, call: &Outstanding, now: Timestamp) {
        if self.is_outstanding(call.step) {
            return;
        }
        let pause = self.spec.retry.pause_after(call.attempt);
        self.push(Outstanding { attempt: call.attempt.saturating_add(1), not_before: now.after(pause), ..*call });
    }

    /// Asks for everything outstanding anew; answers to the earlier asking do not count any more.
    pub(super) fn reissue_all(&mut self) {
        for call in std::mem::take(&mut self.outstanding) {
            self.push(call);
        }
    }

    /// Takes an outstanding call out; `None` for late and doubled answers.
    pub(super) fn take(&mut self, issue: u64) -> Option<Outstanding> {
        let at = self.outstanding.iter().position(|call| call.issue == issue)?;
        Some(self.outstanding.remove(at))
    }

    pub(super) fn forget(&mut self, step: Step) {
        self.outstanding.retain(|call| call.step != step);
    }

    fn push(&mut self, call: Outstanding) {
        // Some are on record one step before: see [`MigrationState::may_be_stored_beside`].
        match call.step {
            Step::Begin => self.traces.journal = true,
            Step::Prepare | Step::Stage(_) => self.traces.copy = true,
            Step::PreDump(_) | Step::Park => self.traces.checkpoint = true,
            Step::Checkpoint => {
                self.traces.checkpoint = true;
                self.traces.transfer = true;
            }
            Step::Send(Part::Round(_)) => self.traces.transfer = true,
            Step::Send(Part::Final) => {
                self.traces.transfer = true;
                self.traces.copy = true;
                self.restore_tried = true;
            }
            Step::Restore => {
                self.traces.copy = true;
                self.restore_tried = true;
            }
            _ => {}
        }
        self.outstanding.push(Outstanding { issue: self.next_issue, ..call });
        self.next_issue += 1;
    }

    /// The effects of everything asked for since `first`, and of nothing that was dropped again meanwhile.
    pub(super) fn effects_since(&self, first: u64, now: Timestamp) -> Vec<Effect> {
        self.outstanding.iter().filter(|call| call.issue >= first).filter_map(|call| self.effect(call, now)).collect()
    }

    pub(super) fn effect(&self, asked: &Outstanding, now: Timestamp) -> Option<Effect> {
        let migration = self.spec.migration.clone();
        let limit = self.limit(asked.step, now);
        let parent = self.facts.parent();
        let checkpoint_job = || CheckpointJob { migration: migration.clone(), parent, leave_running: true, deadline: limit };
        let restore_job = || RestoreJob { migration: migration.clone(), copy: self.spec.copy.clone(), deadline: limit };
        let call = match asked.step {
            Step::Begin => Call::Begin(ReplayJob {
                migration: migration.clone(),
                queue: self.spec.queue.clone(),
                source: self.spec.source.clone(),
                copy: self.spec.copy.clone(),
                mode: self.spec.mode,
            }),
            Step::Prepare => Call::Prepare(restore_job()),
            Step::AwaitReady => Call::AwaitReady(restore_job()),
            Step::WatchSource => Call::WatchSource,
            Step::PreDump(round) => Call::PreDump { job: checkpoint_job(), round },
            Step::Park => Call::Park,
            Step::Checkpoint => Call::Checkpoint(checkpoint_job()),
            Step::Resume => Call::Resume,
            Step::Send(part) => {
                let checkpoint = self.facts.part(part)?.clone();
                let job = TransferJob { migration: migration.clone(), part, archive_bytes: checkpoint.archive_bytes, deadline: limit };
                Call::Send { job, checkpoint, bytes_per_s_max: self.spec.bytes_per_s_max }
            }
            Step::Stage(round) => Call::Stage { job: restore_job(), receipt: self.facts.round(round)?.receipt.clone()? },
            Step::Restore => Call::Restore { job: restore_job(), receipts: self.facts.receipts()? },
            Step::WatchCopy => Call::WatchCopy,
            Step::Progress => Call::Progress,
            Step::HandOver => Call::HandOver(HandOverJob { migration: migration.clone(), source_gone: self.source_gone, deadline: limit }),
            Step::Promote => Call::Promote,
            Step::RetireSource => Call::RetireSource,
            // A committed migration has ended its source before.
            Step::RetireBroker => Call::RetireBroker { source_gone: self.source_gone || self.course == Course::Committed },
            Step::Abort => Call::Abort {
                reason: match &self.course {
                    Course::Undoing(undo) => undo.reason.clone(),
                    Course::Forward | Course::Committed => return None,
                },
            },
            Step::DiscardCopy => Call::DiscardCopy,
            Step::DiscardTransfer => Call::DiscardTransfer,
            Step::DiscardCheckpoint => Call::DiscardCheckpoint,
        };
        let key = EffectKey { migration, step: asked.step };
        Some(Effect { key, issue: asked.issue, attempt: asked.attempt, delay: asked.not_before.since(now), limit, call })
    }

    /// Work may take what is left of its phase; everything else has the limit of a call.
    fn limit(&self, step: Step, now: Timestamp) -> Duration {
        let deadlines = &self.spec.deadlines;
        let left = match (&self.course, self.deadline()) {
            (Course::Forward, Some(deadline)) => deadline.since(now),
            _ => deadlines.call,
        };
        match step {
            Step::Prepare | Step::AwaitReady | Step::PreDump(_) | Step::Checkpoint | Step::Send(_) | Step::Stage(_) | Step::Restore => left,
            Step::HandOver => deadlines.hand_over.min(left),
            _ => deadlines.call.min(left),
        }
    }
}
