//! What is really the case while the engine sees only answers.

use std::collections::BTreeSet;
use std::time::Duration;

use ms2m_core::engine::{Answer, Call, Course, DriverNames, Effect, Event, Fault, MigrationSpec, MigrationState, Step, step};
use ms2m_core::{
    Begun, Checkpoint, CheckpointCapability, CopyStatus, CutOver, Digest, ErrorKind, HandoverMode, InstanceId, MigrationId, Ownership,
    Parked, Part, Phase, PreDump, PreDumpPolicy, Protocol, Receipt, ReplayProgress, ReplayStanding, Restored, Retired, RetryPolicy,
    SourceStatus, Timestamp, Verdict,
};

/// How a call answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// As hoped for.
    Well,
    /// Truthfully, but not as hoped for (not ready yet, source gone, the source keeps the queue …); else as hoped for.
    Otherwise,
    /// With an error that asks for a retry; nothing has happened.
    Retry,
    /// With an error that does not; nothing has happened.
    Fatal,
    /// Not in time, but it has happened.
    LostAnswer,
    /// With something that is no answer to it.
    Nonsense,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdicted {
    Open,
    Source,
    Copy,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) state: MigrationState,
    /// What a driver after a crash finds.
    stored: Option<MigrationState>,
    pub(crate) now: Timestamp,
    /// Every effect ever asked for.
    pub(crate) asked: Vec<Step>,
    pub(crate) source_lives: bool,
    effects: Vec<Effect>,
    told: Vec<Event>,
    chase: bool,
    // The truth.
    journal: bool,
    verdict: Verdicted,
    hand_over_asked: bool,
    prepared: bool,
    ready: bool,
    copy_may_live: bool,
    parked: bool,
    checkpoint: bool,
    transferred: bool,
    /// The copy has ended by itself.
    copy_dead: bool,
    /// Parts that have arrived, and rounds that the target has taken note of.
    arrived: BTreeSet<Part>,
    staged: BTreeSet<u32>,
}

impl World {
    pub(crate) fn new(chase: bool, rounds_max: u32) -> Self {
        let instance = |name| InstanceId::new(name).unwrap();
        let spec = MigrationSpec {
            pre_dump: Some(PreDumpPolicy { rounds_max, progress_min: 100, dirty_bytes_max: 0, ..PreDumpPolicy::default() }),
            // Few, so that giving up is not rare.
            retry: RetryPolicy { attempts_max: 2, ..RetryPolicy::default() },
            ..MigrationSpec::new(MigrationId::new("m-1").unwrap(), "orders", instance("source"), instance("copy"))
        };
        let drivers = DriverNames {
            checkpoint_source: "model".into(),
            transfer_backend: "model".into(),
            restore_target: "model".into(),
            capability: CheckpointCapability { pre_dump: true, leave_running: true, ..CheckpointCapability::default() },
        };
        let now = Timestamp::from_micros(1_000_000);
        Self {
            state: MigrationState::new(spec, drivers, now),
            stored: None,
            now,
            asked: Vec::new(),
            source_lives: true,
            effects: Vec::new(),
            told: Vec::new(),
            chase,
            journal: false,
            verdict: Verdicted::Open,
            hand_over_asked: false,
            prepared: false,
            ready: false,
            copy_may_live: false,
            parked: false,
            checkpoint: false,
            transferred: false,
            copy_dead: false,
            arrived: BTreeSet::new(),
            staged: BTreeSet::new(),
        }
    }

    /// Tells the engine and checks what it makes of it.
    pub(crate) fn tell(&mut self, event: &Event) {
        let before = self.state.clone();
        let (state, effects) = step(&before, event, self.now);
        self.check_step(&before, &state, &effects);
        for effect in &effects {
            self.asked.push(effect.key.step);
            self.check_effect(&state, effect);
            self.ask(effect);
        }
        self.effects.extend(effects);
        self.effects.retain(|effect| state.outstanding().iter().any(|call| call.issue == effect.issue));
        self.told.push(event.clone());
        if matches!(event, Event::Start | Event::Resumed) || state.must_store_after(&before) {
            self.stored = Some(state.clone());
        }
        self.state = state;
    }

    /// The driver dies; what it asked for may still happen, but nobody hears of it.
    pub(crate) fn crash(&mut self) {
        let Some(kept) = &self.stored else { return };
        let state: MigrationState = serde_json::from_str(&serde_json::to_string(kept).unwrap()).unwrap();
        assert_eq!(state, *kept, "the store must keep all of it");
        self.state = state;
        self.effects.clear();
        self.told.clear();
        self.tell(&Event::Resumed);
        assert_eq!(self.effects.len(), self.state.outstanding().len(), "after a crash everything outstanding is asked for again");
    }

    /// An earlier answer comes once more; it must change nothing. (Time stands still for it.)
    pub(crate) fn repeat(&mut self, which: usize) {
        let answers: Vec<&Event> = self.told.iter().filter(|event| matches!(event, Event::Done { .. } | Event::Failed { .. })).collect();
        if answers.is_empty() {
            return;
        }
        let (state, effects) = step(&self.state, answers[which % answers.len()], self.state.timeline().last().at);
        assert_eq!((state, effects), (self.state.clone(), Vec::new()), "a doubled answer changed something");
    }

    /// One call answers: work before questions, and the watches, which could go on for ever, only where nothing else is asked.
    pub(crate) fn answer_work(&mut self, which: usize) {
        let find = |wanted: &dyn Fn(Step) -> bool| -> Vec<usize> {
            self.effects.iter().enumerate().filter(|(_, effect)| wanted(effect.key.step)).map(|(at, _)| at).collect()
        };
        let mut work = find(&|step| !step.is_poll());
        if work.is_empty() {
            work = find(&|step| step == Step::Progress);
        }
        if work.is_empty() {
            work = find(&|step| step == Step::WatchCopy);
        }
        self.answer(work[which % work.len()], How::Well);
    }

    pub(crate) fn answer(&mut self, which: usize, how: How) {
        if self.effects.is_empty() {
            return;
        }
        let effect = self.effects.remove(which % self.effects.len());
        self.now = self.now.after(effect.delay + Duration::from_micros(10));
        let event = self.perform(&effect, how);
        self.tell(&event);
    }

    /// The outstanding call of a step answers.
    pub(crate) fn answer_to(&mut self, step: Step, how: How) {
        let at = self.effects.iter().position(|effect| effect.key.step == step);
        self.answer(at.unwrap_or_else(|| panic!("{step} is not outstanding")), how);
    }

    /// From the moment of asking on it may happen at any time, even when nobody waits for it any more.
    fn ask(&mut self, effect: &Effect) {
        match effect.call {
            Call::Begin(_) => self.journal = true,
            Call::Prepare(_) => self.prepared = true,
            Call::Park => self.parked = true,
            Call::Restore { .. } => self.copy_may_live = true,
            Call::HandOver(_) => self.hand_over_asked = true,
            Call::Checkpoint(_) | Call::PreDump { .. } => self.checkpoint = true,
            Call::Send { .. } => self.transferred = true,
            Call::Stage { .. } => self.prepared = true,
            _ => {}
        }
    }

    fn perform(&mut self, effect: &Effect, how: How) -> Event {
        let issue = effect.issue;
        let fault = |kind, verdict| Event::Failed { issue, fault: Fault { kind, verdict, message: "model".into() } };
        match how {
            How::Retry | How::Fatal => {
                match effect.call {
                    // Contracts: after an error nothing is left, no copy lives.
                    Call::Begin(_) => self.journal = false,
                    Call::Restore { .. } => self.copy_may_live = false,
                    _ => {}
                }
                fault(ErrorKind::Unavailable, if how == How::Retry { Verdict::Retry } else { Verdict::Fatal })
            }
            How::LostAnswer => {
                self.happen(effect, false);
                fault(ErrorKind::Timeout, Verdict::Retry)
            }
            How::Nonsense => Event::Done { issue, answer: Answer::Parked(Parked { n: u64::MAX, digest: Digest::default() }) },
            How::Well | How::Otherwise => match self.happen(effect, how == How::Otherwise) {
                Some(answer) => Event::Done { issue, answer },
                None => fault(ErrorKind::NotFound, Verdict::Fatal),
            },
        }
    }

    /// Lets it happen; `None` when what it is about does not exist.
    fn happen(&mut self, effect: &Effect, otherwise: bool) -> Option<Answer> {
        let migration = effect.key.migration.clone();
        Some(match &effect.call {
            Call::Begin(_) => {
                let mode = if self.chase { HandoverMode::Chase } else { HandoverMode::Hold };
                Answer::Begun(Begun { protocol: Protocol::Journal, mode, applied: 3 })
            }
            Call::WatchSource => Answer::Source(if self.source_lives { SourceStatus::Present } else { SourceStatus::Gone }),
            Call::PreDump { job, round } => {
                self.builds_on(job.parent);
                let checkpoint = self.dumped(migration, Part::Round(*round), job.parent, otherwise);
                Answer::PreDumped(PreDump { checkpoint, dirty_bytes: 4096, memory_bytes: 1 << 20 })
            }
            Call::Park => Answer::Parked(Parked { n: 5, digest: Digest::default() }),
            Call::Checkpoint(job) => {
                self.builds_on(job.parent);
                Answer::Checkpoint(self.dumped(migration, Part::Final, job.parent, otherwise))
            }
            Call::Resume => {
                self.parked = false;
                Answer::Done
            }
            Call::Send { job, checkpoint, .. } => {
                assert_eq!(job.part, checkpoint.part);
                self.arrived.insert(job.part);
                Answer::Sent(Receipt {
                    migration,
                    part: job.part,
                    digest: Digest::default(),
                    archive_bytes: 100,
                    transferred_bytes: 50,
                    location: "here".into(),
                })
            }
            Call::Stage { receipt, .. } => {
                let Part::Round(round) = receipt.part else { panic!("the final part is not staged") };
                assert!(self.arrived.contains(&receipt.part), "staged before it arrived");
                self.staged.insert(round);
                Answer::Done
            }
            Call::Restore { job, receipts } => {
                self.check_chain(receipts);
                self.copy_dead = false;
                Answer::Restored(Restored { copy: job.copy.clone(), restore: Duration::from_millis(3) })
            }
            Call::WatchCopy => Answer::Copy(self.copy_status(otherwise)),
            Call::Progress => Answer::Progress(self.progress(otherwise)),
            Call::HandOver(job) => {
                assert!(!job.source_gone || !self.source_lives, "FENCE although the source may live");
                self.decide(!otherwise);
                Answer::Owner(self.owner())
            }
            Call::Abort { .. } => {
                self.journal.then_some(())?;
                // A hand-over that nobody waits for may have come first; so may a promotion by the broker.
                self.decide(otherwise && self.copy_may_live && (self.hand_over_asked || !self.source_lives));
                Answer::Owner(self.owner())
            }
            Call::RetireBroker { source_gone } => {
                assert!(!source_gone || !self.source_lives, "the journal is told that a living source is gone");
                self.journal.then_some(())?;
                self.journal = false;
                Answer::Retired(Retired { applied_by_source: 9, journaled: 4, ..Retired::default() })
            }
            Call::RetireSource => {
                self.source_lives = false;
                Answer::Done
            }
            Call::DiscardCopy => {
                (self.prepared, self.ready, self.copy_may_live) = (false, false, false);
                Answer::Done
            }
            Call::DiscardCheckpoint => {
                self.checkpoint = false;
                Answer::Done
            }
            Call::DiscardTransfer => {
                self.transferred = false;
                Answer::Done
            }
            Call::AwaitReady(_) => {
                assert!(self.prepared, "waits for what was not begun");
                self.ready = true;
                Answer::Done
            }
            Call::Prepare(_) | Call::Promote => Answer::Done,
        })
    }

    fn builds_on(&self, parent: Option<u32>) {
        assert!(parent.is_none_or(|round| self.staged.contains(&round)), "a dump on what the target lacks");
    }

    /// `otherwise`: the driver could not build on the parent and wrote everything.
    fn dumped(&self, migration: MigrationId, part: Part, parent: Option<u32>, otherwise: bool) -> Checkpoint {
        let parent = parent.filter(|_| !otherwise);
        Checkpoint { migration, part, parent, archive_bytes: 100, freeze: Duration::from_millis(12), manifest: [].into() }
    }

    /// Whole, then each on the one before it, the final one last, and all there.
    fn check_chain(&self, receipts: &[Receipt]) {
        let facts = self.state.facts();
        let mut before = None;
        for receipt in receipts {
            let checkpoint = facts.part(receipt.part).expect("a receipt of something dumped");
            assert_eq!(checkpoint.parent, before, "a gap in the chain");
            assert!(self.arrived.contains(&receipt.part), "a receipt of what has not arrived");
            before = if let Part::Round(round) = receipt.part { Some(round) } else { None };
        }
        assert_eq!(receipts.last().map(|receipt| receipt.part), Some(Part::Final));
    }

    fn copy_status(&mut self, otherwise: bool) -> CopyStatus {
        // After the commit somebody brings it back.
        let healed = !otherwise && self.verdict == Verdicted::Copy;
        self.copy_dead = (self.copy_dead || otherwise) && !healed;
        if self.copy_dead { CopyStatus::Gone } else { CopyStatus::Present }
    }

    fn progress(&mut self, otherwise: bool) -> ReplayProgress {
        let standing = match (self.verdict, otherwise) {
            (Verdicted::Source, _) => ReplayStanding::Aborted("by the model".into()),
            (Verdicted::Copy, _) => ReplayStanding::CopyOwns,
            (Verdicted::Open, false) => ReplayStanding::Ready,
            // Each look in turn: replaying, refused, promoted by the broker.
            (Verdicted::Open, true) => match self.asked.len() % 5 {
                0 => ReplayStanding::AwaitingCopy,
                1 | 2 => ReplayStanding::Replaying,
                3 => ReplayStanding::Rejected("digests differ".into()),
                _ => {
                    self.decide(true);
                    ReplayStanding::CopyOwns
                }
            },
        };
        ReplayProgress { source_n: 9, copy_n: 7, standing }
    }

    /// The journal's verdict: the first one stays.
    fn decide(&mut self, copy: bool) {
        if self.verdict == Verdicted::Open {
            self.verdict = if copy { Verdicted::Copy } else { Verdicted::Source };
            self.parked &= copy;
        }
    }

    fn owner(&self) -> Ownership {
        match self.verdict {
            Verdicted::Copy => Ownership::Copy(CutOver { n: 9, ..CutOver::default() }),
            Verdicted::Open | Verdicted::Source => Ownership::Source { reason: "the journal says so".into() },
        }
    }

    fn check_step(&self, before: &MigrationState, after: &MigrationState, effects: &[Effect]) {
        assert!(
            after.is_final() || after.deadline().is_some() || after.attention().is_some(),
            "neither deadline nor attention: {after:#?}"
        );
        assert!(after.deadline().is_none_or(|deadline| deadline > self.now), "an expired deadline that nobody minds");
        assert!(!before.is_final() || (after == before && effects.is_empty()), "something happened after the end");
        assert!(!after.is_final() || after.outstanding().is_empty());
        if *before.course() == Course::Committed {
            assert_eq!(*after.course(), Course::Committed, "there is no way back from the commit point");
        }
        if let (Course::Undoing(was), Course::Undoing(is)) = (before.course(), after.course()) {
            assert!(!was.source_owns || is.source_owns, "what the journal has said stays");
        }
        let news = after.outstanding().iter().filter(|call| before.outstanding().iter().all(|old| old.issue != call.issue)).count();
        assert_eq!(news, effects.len(), "each new call has its effect, and only those");
        if after.source_gone() && !before.source_gone() && after.phase() == Phase::Finalizing && *after.course() == Course::Forward {
            assert!(effects.iter().any(|effect| effect.key.step == Step::HandOver), "waits for the END of a dead source");
        }
        assert!(after.phase_reached() >= before.phase_reached());
        let steps: std::collections::BTreeSet<Step> = after.outstanding().iter().map(|call| call.step).collect();
        assert_eq!(steps.len(), after.outstanding().len(), "one call is outstanding twice");
    }

    fn check_effect(&self, state: &MigrationState, effect: &Effect) {
        let undoing = matches!(state.course(), Course::Undoing(_));
        match effect.key.step {
            Step::DiscardCopy => {
                assert!(undoing, "a copy discarded on the way forward");
                assert!(self.verdict == Verdicted::Source || !self.journal, "discards a copy that may own the queue");
            }
            Step::RetireSource => {
                assert_eq!(self.verdict, Verdicted::Copy, "the source may own the queue");
                assert!(!state.copy_lost(), "ends the only one that has the state");
            }
            Step::Checkpoint => assert!(self.chase || self.ready, "a source stands still for what could have been waited for before"),
            Step::Restore => assert!(self.ready, "restores before that is possible"),
            Step::Promote => assert_eq!(self.verdict, Verdicted::Copy, "the source may own the queue"),
            Step::WatchCopy => assert!(!undoing && state.phase() >= Phase::Replaying),
            Step::HandOver => {
                let resumed = !self.parked || !self.chase || state.source_gone();
                assert!(*state.course() == Course::Forward && resumed, "hands over while the source is still to be resumed");
            }
            Step::Abort => assert!(undoing),
            Step::RetireBroker if undoing => assert!(!self.copy_may_live, "the journal goes while a copy may live"),
            Step::RetireBroker => assert!(!self.source_lives, "the journal goes while the source may live"),
            Step::DiscardTransfer | Step::DiscardCheckpoint => {
                assert!(undoing || self.verdict == Verdicted::Copy);
                assert!(!undoing || !self.copy_may_live || state.left_behind().copy, "what a copy may need goes before it");
                if undoing && state.source_gone() && state.facts().checkpoint.is_some() {
                    panic!("discards all there is of a dead source's state");
                }
            }
            _ => assert!(!undoing && *state.course() == Course::Forward, "{} on the wrong course", effect.key.step),
        }
        assert!(effect.limit <= Duration::from_secs(600), "a call without a bound");
    }

    /// What must be true in the end.
    pub(crate) fn check_end(&self) {
        let left = self.state.left_behind();
        match self.state.phase() {
            Phase::Completed => {
                assert_eq!(self.verdict, Verdicted::Copy);
                assert!(!self.source_lives, "two consumers");
                assert!(!self.journal, "the journal was forgotten");
            }
            Phase::Failed => {
                assert_ne!(self.verdict, Verdicted::Copy, "the copy owns the queue, and was given up");
                assert!(!self.parked || !self.source_lives || !self.journal, "the source was left parked");
                assert!(!self.journal || left.journal, "the journal was forgotten");
                assert!(!(self.prepared || self.copy_may_live) || left.copy, "a copy was forgotten");
            }
            phase => panic!("{phase} is no end"),
        }
        assert!(!self.checkpoint || left.checkpoint, "the checkpoint was forgotten");
        assert!(!self.transferred || left.transfer, "transferred bytes were forgotten");
    }
}
