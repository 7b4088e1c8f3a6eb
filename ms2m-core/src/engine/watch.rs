//! Whether source and copy are still there, asked again and again.

use super::effect::Step;
use super::state::{Course, MigrationState, Outstanding};
use crate::checkpoint::SourceStatus;
use crate::phase::Phase;
use crate::restore::CopyStatus;
use crate::time::Timestamp;

impl MigrationState {
    pub(super) fn on_source_status(&mut self, status: SourceStatus, now: Timestamp) {
        match status {
            SourceStatus::Gone => self.on_source_gone(now),
            SourceStatus::Present => match self.doubt.take() {
                Some(doubt) => self.undo(doubt.reason, false, now),
                None => self.poll_again(Step::WatchSource, now),
            },
        }
    }

    pub(super) fn on_copy_status(&mut self, call: &Outstanding, status: CopyStatus, now: Timestamp) {
        match (status, &self.course) {
            (CopyStatus::Present, Course::Committed) => {
                self.copy_seen = true;
                self.copy_lost = false;
                if !self.promoted {
                    self.poll_again(Step::WatchCopy, now);
                }
                self.complete(now);
            }
            (CopyStatus::Gone, Course::Committed) => {
                // No log can give the queue back any more, and the source has the newest state there is: it is not ended.
                self.copy_seen = false;
                self.copy_lost = true;
                self.attention.get_or_insert(now);
                self.poll_again(Step::WatchCopy, now);
            }
            (CopyStatus::Present, _) => self.poll_again(Step::WatchCopy, now),
            (CopyStatus::Gone, _) => {
                let reason = format!("{}: the copy has ended by itself and no process of it is left: see its log", self.phase);
                if self.is_rescue() {
                    self.undo(reason, false, now);
                } else {
                    self.look_after_source(call, reason, now);
                }
            }
        }
    }

    pub(super) fn on_source_gone(&mut self, now: Timestamp) {
        if self.source_gone || self.course != Course::Forward {
            return;
        }
        self.source_gone = true;
        let doubt = self.doubt.take();
        self.forget(Step::WatchSource);
        if self.facts.checkpoint.is_some() {
            // The dead need no RESUME. A hand-over that counts on the source's END would wait for ever: ask again with FENCE.
            self.forget(Step::Resume);
            // Its end may be why the source was looked after.
            if self.phase >= Phase::Replaying {
                self.issue(Step::WatchCopy, now);
            }
            if self.phase == Phase::Finalizing {
                self.forget(Step::HandOver);
                self.enter(Phase::Finalizing, now);
                self.issue(Step::HandOver, now);
            } else {
                let failed = doubt.map(|doubt| doubt.calls).unwrap_or_default();
                for call in failed.iter().filter(|call| !matches!(call.step, Step::Resume | Step::WatchCopy)) {
                    self.repeat(call, now);
                }
            }
        } else if !self.is_outstanding(Step::Checkpoint) {
            self.undo(SOURCE_DIED_TOO_EARLY.to_owned(), false, now);
        }
    }
}

/// While the dump is under way it may still succeed, so it is waited for.
pub(super) const SOURCE_DIED_TOO_EARLY: &str = "the source died before its checkpoint existed; nothing to restore";
