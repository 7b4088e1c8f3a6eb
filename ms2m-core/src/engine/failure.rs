//! What failed calls lead to.
//!
//! | course | call | repeated | then |
//! |---|---|---|---|
//! | forward | work | up to the policy, when the error asks for it | roll back |
//! | forward | pre-dump round | likewise | freeze with what has arrived: rounds only make the freeze shorter |
//! | forward | questions | until the phase's deadline, when the error asks for it (whether source and copy live: always) | roll back |
//! | forward | hand-over | no: its outcome is unknown | look whether the source lives: FENCE, or abort, which learns who owns the queue |
//! | forward, checkpoint there | any, failed for good | | look whether the source lives before rolling back to it |
//! | forward, source gone, checkpoint there | any | until the phase's deadline, whatever the error says | roll back |
//! | undoing | abort | without end, with the attention marker after the deadline | |
//! | undoing | clean-up | up to the policy, or to the deadline when the error asks for it | left behind, by name |
//! | committed | promote, retire | without end, with the attention marker after the deadline | |
//! | committed | discard | up to the policy | left behind, by name |

use super::effect::Step;
use super::event::Fault;
use super::pre_dump::PreDumpEnd;
use super::rounds::is_round;
use super::state::{Course, Doubt, MigrationState, Outstanding};
use super::watch::SOURCE_DIED_TOO_EARLY;
use crate::error::{ErrorKind, Verdict};
use crate::time::Timestamp;

impl MigrationState {
    pub(super) fn on_fault(&mut self, call: &Outstanding, fault: &Fault, now: Timestamp) {
        if !call.step.is_poll() {
            self.last_fault = Some((call.step, fault.message.clone()));
        }
        match self.course {
            Course::Forward => self.on_fault_forward(call, fault, now),
            Course::Undoing(_) => self.on_fault_undoing(call, fault, now),
            Course::Committed => self.on_fault_committed(call, fault, now),
        }
    }

    fn may_repeat(&self, call: &Outstanding, fault: &Fault) -> bool {
        fault.verdict == Verdict::Retry && call.attempt < self.spec.retry.attempts_max
    }

    fn on_fault_forward(&mut self, call: &Outstanding, fault: &Fault, now: Timestamp) {
        let reason = format!("{}, {}: {}", self.phase, call.step, fault.message);
        match call.step {
            Step::WatchSource => match self.doubt.take() {
                Some(doubt) => self.undo(doubt.reason, false, now),
                None => self.poll_again(Step::WatchSource, now),
            },
            Step::WatchCopy => self.poll_again(Step::WatchCopy, now),
            Step::Progress if fault.verdict == Verdict::Retry => self.repeat(call, now),
            Step::Checkpoint if self.source_gone => self.undo(SOURCE_DIED_TOO_EARLY.to_owned(), false, now),
            _ if self.is_rescue() => self.repeat(call, now),
            Step::HandOver => self.look_after_source(call, reason, now),
            _ if self.may_repeat(call, fault) => self.repeat(call, now),
            step if is_round(step) => self.end_rounds(PreDumpEnd::Failed(reason), now),
            _ if self.facts.checkpoint.is_some() => self.look_after_source(call, reason, now),
            step => {
                // Its contract says that nothing is left after an error; of a call without a proper answer nothing is known.
                if step == Step::Begin && !matches!(fault.kind, ErrorKind::Timeout | ErrorKind::Invariant) {
                    self.traces.journal = false;
                }
                self.undo(reason, false, now);
            }
        }
    }

    /// Rolling back gives the queue to the source, so first it is looked whether there still is one.
    pub(super) fn look_after_source(&mut self, call: &Outstanding, reason: String, now: Timestamp) {
        self.doubt.get_or_insert(Doubt { calls: Vec::new(), reason }).calls.push(*call);
        self.forget(Step::WatchSource);
        self.issue(Step::WatchSource, now);
    }

    fn on_fault_undoing(&mut self, call: &Outstanding, fault: &Fault, now: Timestamp) {
        let missing = fault.kind == ErrorKind::NotFound;
        match call.step {
            // No journal, and no copy can ever have lived: nobody but the source can own the queue.
            Step::Abort if missing && !self.restore_tried => {
                self.traces.journal = false;
                self.source_owns(now);
            }
            Step::Abort => self.repeat(call, now),
            step if missing => self.removed(step, now),
            _ if fault.verdict == Verdict::Retry || call.attempt < self.spec.retry.attempts_max => self.repeat(call, now),
            step => self.leave_behind(step, now),
        }
    }

    fn on_fault_committed(&mut self, call: &Outstanding, fault: &Fault, now: Timestamp) {
        match call.step {
            Step::RetireBroker if fault.kind == ErrorKind::NotFound => self.removed(Step::RetireBroker, now),
            Step::DiscardTransfer | Step::DiscardCheckpoint if call.attempt >= self.spec.retry.attempts_max => {
                self.leave_behind(call.step, now);
            }
            _ => self.repeat(call, now),
        }
    }
}
