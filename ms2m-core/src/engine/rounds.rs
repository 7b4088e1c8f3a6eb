//! Pre-dump rounds: each is dumped, sent and staged while the source runs.
//!
//! The next dump, another round or the final one, builds on the last round that has arrived and was staged, and on nothing
//! else. After a round that failed there are no further ones: the final dump then holds what that round should have brought.
//! So a failure costs freeze time, never exactness.

use std::time::Duration;

use super::effect::Step;
use super::pre_dump::PreDumpEnd;
use super::state::{Course, Facts, MigrationState, Round};
use crate::checkpoint::{Checkpoint, PreDump};
use crate::part::Part;
use crate::phase::Phase;
use crate::replay::HandoverMode;
use crate::time::Timestamp;
use crate::transfer::Receipt;

impl Facts {
    /// What was dumped as this part.
    #[must_use]
    pub fn part(&self, part: Part) -> Option<&Checkpoint> {
        match part {
            Part::Round(round) => self.round(round).map(|round| &round.pre_dump.checkpoint),
            Part::Final => self.checkpoint.as_ref(),
        }
    }

    /// A round by its number, from 1.
    #[must_use]
    pub fn round(&self, round: u32) -> Option<&Round> {
        self.rounds.get(usize::try_from(round.checked_sub(1)?).ok()?)
    }

    /// What the next dump builds on: the last round that the target can use.
    #[must_use]
    pub fn parent(&self) -> Option<u32> {
        let usable = self.rounds.iter().rposition(|round| round.staged)?;
        u32::try_from(usable + 1).ok()
    }

    /// Receipts of the final part and of everything on which it builds, in order; `None` while one is missing.
    #[must_use]
    pub fn receipts(&self) -> Option<Vec<Receipt>> {
        let mut receipts = vec![self.receipt.clone()?];
        let mut parent = self.checkpoint.as_ref()?.parent;
        while let Some(number) = parent {
            let round = self.round(number).filter(|round| round.staged)?;
            receipts.push(round.receipt.clone()?);
            // Rounds build on earlier ones only, so this ends.
            parent = round.pre_dump.checkpoint.parent.filter(|earlier| *earlier < number);
        }
        receipts.reverse();
        Some(receipts)
    }
}

impl MigrationState {
    pub(super) fn next_round_or_park(&mut self, now: Timestamp) {
        let Some(policy) = self.spec.pre_dump else { return self.issue(Step::Park, now) };
        let dirty: Vec<u64> = self.facts.rounds.iter().map(|round| round.pre_dump.dirty_bytes).collect();
        match self.unsuitable(dirty.len()).or_else(|| policy.end(&dirty)) {
            Some(end) => self.end_rounds(end, now),
            None => {
                let pause = if dirty.is_empty() { Duration::ZERO } else { policy.interval };
                let round = u32::try_from(dirty.len() + 1).unwrap_or(u32::MAX);
                self.issue_after(Step::PreDump(round), pause, now);
            }
        }
    }

    /// Why the driver makes no further round here, whatever the policy says.
    fn unsuitable(&self, made: usize) -> Option<PreDumpEnd> {
        let (capability, name) = (self.drivers.capability, &self.drivers.checkpoint_source);
        let holds = self.facts.begun.as_ref().is_some_and(|begun| begun.mode == HandoverMode::Hold);
        if capability.pre_dump {
            return None;
        }
        if !capability.freezing_round {
            return Some(PreDumpEnd::Failed(format!("the {name} driver has no pre-dump here")));
        }
        if !holds {
            return Some(PreDumpEnd::Failed(format!("the {name} driver would freeze the source in each round here, which works on")));
        }
        (made > 0).then_some(PreDumpEnd::RoundsMax)
    }

    /// Freezes with what has arrived.
    pub(super) fn end_rounds(&mut self, end: PreDumpEnd, now: Timestamp) {
        self.outstanding.retain(|call| !is_round(call.step));
        self.facts.pre_dump_end = Some(end);
        // Rounds have a deadline of their own.
        self.entered = now;
        self.issue(Step::Park, now);
    }

    pub(super) fn is_pre_dumping(&self) -> bool {
        let rounds = self.phase == Phase::Checkpointing && self.course == Course::Forward;
        rounds && self.outstanding.iter().any(|call| is_round(call.step))
    }

    /// Whether a dump is the part that was asked for, and builds on nothing that the target lacks.
    pub(super) fn fits(&self, checkpoint: &Checkpoint, part: Part) -> bool {
        let there = |parent| self.facts.round(parent).is_some_and(|round| round.staged);
        checkpoint.part == part && checkpoint.parent.is_none_or(there)
    }

    pub(super) fn pre_dumped(&mut self, round: u32, pre_dump: &PreDump, now: Timestamp) {
        self.facts.rounds.push(Round { pre_dump: pre_dump.clone(), receipt: None, staged: false });
        self.issue(Step::Send(Part::Round(round)), now);
    }

    pub(super) fn round_arrived(&mut self, round: u32, receipt: &Receipt, now: Timestamp) {
        if let Some(sent) = self.round_mut(round) {
            sent.receipt = Some(receipt.clone());
        }
        self.issue(Step::Stage(round), now);
    }

    pub(super) fn round_staged(&mut self, round: u32, now: Timestamp) {
        if let Some(arrived) = self.round_mut(round) {
            arrived.staged = true;
        }
        self.next_round_or_park(now);
    }

    fn round_mut(&mut self, round: u32) -> Option<&mut Round> {
        self.facts.rounds.get_mut(usize::try_from(round.checked_sub(1)?).ok()?)
    }
}

/// Whether it is a call of a pre-dump round.
pub(super) fn is_round(step: Step) -> bool {
    matches!(step, Step::PreDump(_) | Step::Send(Part::Round(_)) | Step::Stage(_))
}
