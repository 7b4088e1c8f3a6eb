//! [`MigrationState`]: everything known about one migration. What is not in it does not survive a crash.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Step};
use super::pre_dump::PreDumpEnd;
use super::spec::{DriverNames, MigrationSpec};
use crate::checkpoint::{Checkpoint, PreDump};
use crate::part::Part;
use crate::phase::Phase;
use crate::replay::{Begun, CutOver, HandoverMode, Parked, ReplayProgress, Retired};
use crate::restore::Restored;
use crate::time::Timestamp;
use crate::timeline::{Milestone, Timeline};
use crate::transfer::Receipt;

/// Which way a migration goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Course {
    /// Towards the commit point. Everything can still be undone.
    Forward,
    /// Back. Who owns the queue is unknown until [`Undo::source_owns`].
    Undoing(Undo),
    /// The copy owns the queue. There is no way back.
    Committed,
}

/// A roll-back in progress, or done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undo {
    /// Why, for people.
    pub reason: String,
    /// Whether somebody wanted it so.
    pub cancelled: bool,
    /// Whether the journal has said that the source owns the queue. Nothing of the copy is touched before.
    pub source_owns: bool,
}

/// A pre-dump round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Round {
    /// What it did.
    pub pre_dump: PreDump,
    /// Proof that it has arrived.
    pub receipt: Option<Receipt>,
    /// Whether the target has taken note of it; only then something builds on it.
    pub staged: bool,
}

/// What the calls have told so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The broker's decisions.
    pub begun: Option<Begun>,
    /// Whether the target is prepared.
    pub prepared: bool,
    /// Whether a restore would begin at once.
    #[serde(default)]
    pub ready: bool,
    /// Pre-dump rounds, in order.
    pub rounds: Vec<Round>,
    /// Why there were no further ones.
    pub pre_dump_end: Option<PreDumpEnd>,
    /// Where the source was parked.
    pub parked: Option<Parked>,
    /// The checkpoint, or its final part.
    pub checkpoint: Option<Checkpoint>,
    /// How long its call took.
    pub checkpoint_took: Option<Duration>,
    /// Whether a parked source goes on.
    pub resumed: bool,
    /// Proof that it has arrived.
    pub receipt: Option<Receipt>,
    /// The living copy.
    pub restored: Option<Restored>,
    /// The latest look at the replay.
    pub progress: Option<ReplayProgress>,
    /// Figures of the cut-over.
    pub cut_over: Option<CutOver>,
    /// The journal's last words.
    pub retired: Option<Retired>,
}

/// Things that may exist because of this migration and must not stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traces {
    /// The journal at the broker.
    pub journal: bool,
    /// The copy, or what was prepared for it.
    pub copy: bool,
    /// Bytes at the target.
    pub transfer: bool,
    /// The checkpoint at the source.
    pub checkpoint: bool,
}

impl Traces {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of what there is, for people.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [
            (self.copy, "the copy"),
            (self.transfer, "the transferred checkpoint"),
            (self.checkpoint, "the checkpoint"),
            (self.journal, "the journal"),
        ]
        .into_iter()
        .filter_map(|(there, name)| there.then_some(name))
        .collect()
    }
}

/// A call that was asked for and has not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outstanding {
    /// Which call.
    pub step: Step,
    /// Which time of asking.
    pub issue: u64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Not to be made earlier.
    pub not_before: Timestamp,
    /// When the first attempt was asked for.
    pub since: Timestamp,
}

/// Calls that failed for good once a checkpoint existed. Perhaps only because the source has died: it is looked after first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Doubt {
    /// All of them: should the source have died, each is needed.
    pub(super) calls: Vec<Outstanding>,
    /// Of the first one.
    pub(super) reason: String,
}

/// Everything known about one migration.
///
/// Serialisable: stored before its effects are performed, it is enough to go on from after a crash at any point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MigrationState {
    pub(super) spec: MigrationSpec,
    pub(super) drivers: DriverNames,
    pub(super) phase: Phase,
    pub(super) phase_reached: Phase,
    pub(super) course: Course,
    /// When the present phase, or the present part of a roll-back, began.
    pub(super) entered: Timestamp,
    pub(super) attention: Option<Timestamp>,
    pub(super) source_gone: bool,
    pub(super) doubt: Option<Doubt>,
    pub(super) facts: Facts,
    pub(super) timeline: Timeline,
    pub(super) traces: Traces,
    pub(super) left_behind: Traces,
    /// Whether a copy may ever have lived.
    pub(super) restore_tried: bool,
    pub(super) promoted: bool,
    /// Whether the copy was alive at the last look after the commit point.
    pub(super) copy_seen: bool,
    pub(super) copy_lost: bool,
    pub(super) source_retired: bool,
    pub(super) outstanding: Vec<Outstanding>,
    /// The latest failure of a call that is worth a word when it is waited for in vain. It decides nothing.
    #[serde(default)]
    pub(super) last_fault: Option<(Step, String)>,
    pub(super) next_issue: u64,
}

impl MigrationState {
    /// A migration that has not started.
    #[must_use]
    pub fn new(spec: MigrationSpec, drivers: DriverNames, now: Timestamp) -> Self {
        Self {
            spec,
            drivers,
            phase: Phase::Pending,
            phase_reached: Phase::Pending,
            course: Course::Forward,
            entered: now,
            attention: None,
            source_gone: false,
            doubt: None,
            facts: Facts::default(),
            timeline: Timeline::begun(now),
            traces: Traces::default(),
            left_behind: Traces::default(),
            restore_tried: false,
            promoted: false,
            copy_seen: false,
            copy_lost: false,
            source_retired: false,
            outstanding: Vec::new(),
            last_fault: None,
            next_issue: 0,
        }
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &MigrationSpec {
        &self.spec
    }

    /// With which drivers.
    #[must_use]
    pub fn drivers(&self) -> &DriverNames {
        &self.drivers
    }

    /// Where it stands. During a roll-back: where it turned round.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The last phase on the way forward.
    #[must_use]
    pub fn phase_reached(&self) -> Phase {
        self.phase_reached
    }

    /// Which way it goes.
    #[must_use]
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.phase.is_final()
    }

    /// Since when somebody should look, because a deadline has passed that cannot end the migration.
    #[must_use]
    pub fn attention(&self) -> Option<Timestamp> {
        self.attention
    }

    /// Whether the source is certain to have ended by itself.
    #[must_use]
    pub fn source_gone(&self) -> bool {
        self.source_gone
    }

    /// Whether the copy has ended after it took the queue and before the source was ended. The source, the journal and the
    /// checkpoint are kept until somebody has brought the copy back or has decided otherwise.
    #[must_use]
    pub fn copy_lost(&self) -> bool {
        self.copy_lost
    }

    /// What the calls have told.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When which milestone was reached.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// What may exist because of this migration and is still to be removed.
    #[must_use]
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// What could not be removed, or was kept on purpose. For people.
    #[must_use]
    pub fn left_behind(&self) -> &Traces {
        &self.left_behind
    }

    /// The calls that have not answered.
    #[must_use]
    pub fn outstanding(&self) -> &[Outstanding] {
        &self.outstanding
    }

    /// What is waited for, and how it failed the last time: for people.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let steps = self.outstanding.iter().map(|call| call.step).filter(|step| !step.is_poll());
        let with_fault = |step: Step| match &self.last_fault {
            Some((of, message)) if *of == step => format!("{step} (the last time: {message})"),
            _ => step.to_string(),
        };
        steps.map(with_fault).collect()
    }

    /// When the engine wants a [`Tick`](super::Event::Tick) at the latest.
    ///
    /// `None` in a final state, and once the attention marker is raised: then only answers move the migration on.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.is_final() || self.attention.is_some() {
            return None;
        }
        let limit = match self.course {
            Course::Forward if self.is_pre_dumping() => self.spec.deadlines.pre_dumping,
            Course::Forward => self.spec.deadlines.of(self.phase),
            Course::Undoing(_) => self.spec.deadlines.rolling_back,
            Course::Committed => self.spec.deadlines.completing,
        };
        Some(self.entered.after(limit))
    }

    /// Whether going from `before` to `self` must be stored before anything else is done: all changes except those of the
    /// questions that are asked again and again, of the work after the commit point, which may all be done a second time, and of asking for the hand-over:
    /// whoever goes on from the state before finds in the journal what has come of it, and nothing shall take time right before the queue changes hands.
    #[must_use]
    pub fn must_store_after(&self, before: &Self) -> bool {
        let forward = before.course == Course::Forward && self.course == Course::Forward;
        if forward && before.phase == Phase::Replaying && self.phase == Phase::Finalizing {
            return false;
        }
        let (mut after, mut before) = (self.without_polls(), before.without_polls());
        if before.course == Course::Committed && !self.is_final() {
            for state in [&mut after, &mut before] {
                state.outstanding.clear();
                state.traces = Traces::default();
                (state.promoted, state.copy_seen, state.source_retired) = (false, false, false);
            }
        }
        after != before
    }

    /// Whether this effect of going from `before` to `self` may be performed while `self` is being stored. A new driver would go on from `before`, ask for the step before
    /// again, hear the same, and come to this effect once more, which is fine: so it is where `before` has on record all that it may leave behind. That is the case on the
    /// way from the parked source to the living copy, and to the hand-over of a held queue, which nobody serves meanwhile.
    #[must_use]
    pub fn may_be_stored_beside(&self, before: &Self, effect: &Effect) -> bool {
        let forward = before.course == Course::Forward && self.course == Course::Forward && before.source_gone == self.source_gone;
        forward && before.has_on_record(effect.key.step)
    }

    /// Whether this call may be made a second time, and what it leaves behind is known here before it was asked for.
    fn has_on_record(&self, step: Step) -> bool {
        match step {
            Step::Checkpoint => self.traces.checkpoint,
            Step::Send(Part::Final) => self.traces.transfer,
            Step::Restore => self.traces.copy && self.restore_tried,
            // Before that, the checkpoint would be taken again, of a source that is not parked any more.
            Step::Resume => self.facts.checkpoint.is_some(),
            // The copy is asked for again, and says who it is; the journal says whose the queue is. Where the source works on, nothing else shall go on while the queue changes hands.
            Step::HandOver => {
                self.phase == Phase::Restoring && self.facts.begun.as_ref().is_some_and(|begun| begun.mode == HandoverMode::Hold)
            }
            _ => step.is_poll(),
        }
    }

    fn without_polls(&self) -> Self {
        let mut state = self.clone();
        state.outstanding.retain(|call| !call.step.is_poll());
        state.facts.progress = None;
        state.last_fault = None;
        state.next_issue = 0;
        state
    }

    /// The source is gone and its checkpoint exists: going on is the only way to keep the state.
    pub(super) fn is_rescue(&self) -> bool {
        self.source_gone && self.facts.checkpoint.is_some()
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        self.entered = now;
        if !phase.is_final() {
            self.phase_reached = phase;
        }
    }

    /// Milestones are noted where the flow passes them, in order; a repeated one keeps its first time.
    pub(super) fn reach(&mut self, milestone: Milestone, at: Timestamp) {
        if milestone > self.timeline.last().milestone {
            let at = at.max(self.timeline.last().at);
            let noted = self.timeline.mark(milestone, at);
            debug_assert!(noted.is_ok(), "{noted:?}");
        }
    }

    pub(super) fn is_outstanding(&self, step: Step) -> bool {
        self.outstanding.iter().any(|call| call.step == step)
    }
}
