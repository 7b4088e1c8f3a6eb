//! The step function itself.

use super::effect::{Effect, Step};
use super::event::Event;
use super::pre_dump::PreDumpEnd;
use super::state::{Course, MigrationState, Undo};
use crate::phase::Phase;
use crate::replay::ReplayStanding;
use crate::time::Timestamp;

/// What a migration becomes, and what must be done, when `event` happens at `now`.
///
/// Pure: no clock, no I/O, and the same arguments always give the same result. The returned state must be stored before the
/// effects are performed ([`MigrationState::must_store_after`] says when that can be skipped). Calls that are no longer in
/// [`MigrationState::outstanding`] are to be dropped by whoever performs them.
#[must_use]
pub fn step(state: &MigrationState, event: &Event, now: Timestamp) -> (MigrationState, Vec<Effect>) {
    let mut next = state.clone();
    if state.is_final() {
        return (next, Vec::new());
    }
    // A clock that was set back must not turn the timeline round.
    let now = now.max(state.timeline.last().at);
    let first = state.next_issue;
    match event {
        Event::Start => next.start(now),
        Event::Resumed if first == 0 => next.start(now),
        Event::Resumed => next.reissue_all(),
        Event::Done { issue, answer } => {
            if let Some(call) = next.take(*issue) {
                next.on_answer(&call, answer, now);
            }
        }
        Event::Failed { issue, fault } => {
            if let Some(call) = next.take(*issue) {
                next.on_fault(&call, fault, now);
            }
        }
        Event::SourceGone => next.on_source_gone(now),
        Event::Cancel { reason } => next.on_cancel(reason, now),
        Event::Tick => {}
    }
    next.check_deadline(now);
    let effects = next.effects_since(first, now);
    (next, effects)
}

impl MigrationState {
    fn start(&mut self, now: Timestamp) {
        if self.next_issue > 0 || self.course != Course::Forward {
            return;
        }
        if !self.drivers.capability.leave_running {
            let reason = format!(
                "the {} driver cannot leave the source running after a checkpoint, so there would be nothing to go back to",
                self.drivers.checkpoint_source
            );
            return self.undo(reason, false, now);
        }
        self.issue(Step::WatchSource, now);
        self.issue(Step::Prepare, now);
        self.issue(Step::Begin, now);
    }

    fn on_cancel(&mut self, reason: &str, now: Timestamp) {
        if self.course == Course::Forward && !self.is_rescue() {
            self.undo(reason.to_owned(), true, now);
        }
    }

    fn check_deadline(&mut self, now: Timestamp) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.course {
            Course::Forward if self.is_pre_dumping() => self.end_rounds(PreDumpEnd::Deadline, now),
            Course::Forward => {
                let reason = self.expired();
                self.undo(reason, false, now);
            }
            Course::Undoing(Undo { source_owns: true, .. }) => self.give_up_cleaning(now),
            Course::Undoing(_) | Course::Committed => self.attention = Some(now),
        }
    }

    fn expired(&self) -> String {
        let limit = self.spec.deadlines.of(self.phase).as_secs_f64();
        match &self.facts.progress {
            Some(progress) if self.phase == Phase::Replaying && progress.standing == ReplayStanding::AwaitingCopy => {
                format!("Replaying: the copy has said nothing within {limit} s: see its log; it may not reach the broker")
            }
            Some(progress) if self.phase == Phase::Replaying => format!(
                "Replaying: the copy has not caught up within {limit} s: it was last heard {} messages behind. It may have died, or arrivals are faster than the replay",
                progress.lag()
            ),
            _ => {
                let waiting = self.waiting_for();
                let waiting = if waiting.is_empty() { String::new() } else { format!("; waiting for: {}", waiting.join(", ")) };
                format!("{}: not done within {limit} s{waiting}", self.phase)
            }
        }
    }
}
