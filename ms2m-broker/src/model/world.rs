//! Both sides, the controller, the journal and the queue, and everything that can happen next.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use ms2m_core::{HandoverChoice, InstanceId, MigrationId};

use super::queue::{Queue, Side};
use crate::link::QueueKind;
use crate::message::{Message, Properties};
use crate::protocol::{
    Action, Answer, Begin, Call, ConsumerConfig, Controller, ControllerAction, ControllerEvent, Copy, Delivered, Determinants, Determinism,
    Event, Exit, Image, MigrationTag, Owner, Record, Rules, Source,
};

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) kind: QueueKind,
    pub(super) single_active: bool,
    pub(super) window: u16,
    pub(super) messages: u8,
    pub(super) hold: bool,
    /// How many of each may happen.
    pub(super) faults: Faults,
    pub(super) rules: Rules,
}

/// Budgets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Faults {
    pub(super) source_crash: u8,
    pub(super) copy_crash: u8,
    pub(super) controller_crash: u8,
    pub(super) source_disconnect: u8,
    pub(super) copy_disconnect: u8,
    pub(super) abort: u8,
    pub(super) deadline: u8,
    pub(super) patience: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Machine {
    Source(Source),
    Copy(Copy),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Party {
    machine: Machine,
    connected: bool,
    /// The state that the application has built: which message at which number.
    applied: Vec<u8>,
    /// On the way to the journal; lost with the connection.
    outbox: VecDeque<Record>,
    /// On the way to the queue; lost with the connection.
    acks: VecDeque<u64>,
    read: usize,
    reads_journal: bool,
    awaits_no_consumers: bool,
    kept_effects: Vec<u64>,
    exited: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct World {
    queue: Queue,
    published: u8,
    parties: [Option<Rc<Party>>; 2],
    journal: Rc<Vec<Record>>,
    /// A TAKEBACK on its way to the journal.
    controller_outbox: Option<Record>,
    controller: Option<Rc<Controller>>,
    told_gone: bool,
    controller_read: usize,
    answer: Option<Answer>,
    stage: Stage,
    image: Option<Rc<(Image, Vec<u8>)>>,
    effects: Vec<(u64, u8)>,
    faults: Faults,
    crashed: bool,
    violation: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd)]
enum Stage {
    Begin,
    Park,
    Checkpoint,
    Resume,
    Restore,
    HandOver,
    GiveBack,
    Done,
}

/// One thing that can happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    Publish,
    Deliver(Side),
    Read(Side),
    Land(Side),
    LandTakeBack,
    Ack(Side),
    NoConsumers(Side),
    FinishClose,
    /// Telling how far it is.
    Progress(Side),
    Reconnect(Side),
    Disconnect(Side),
    Crash(Side),
    ControllerCrash,
    Control,
    Abort,
    DeadlineOver,
    Patience,
}

impl Step {
    pub(super) fn is_fault(self) -> bool {
        use Step::{Abort, ControllerCrash, Crash, DeadlineOver, Disconnect, Patience};
        matches!(self, Disconnect(_) | Crash(_) | ControllerCrash | Abort | DeadlineOver | Patience)
    }
}

fn message(index: u8) -> Message {
    Message { properties: Properties { message_id: Some(index.to_string()), ..Properties::default() }, body: Bytes::new() }
}

fn instance(side: Side) -> InstanceId {
    InstanceId::new(["source", "copy"][side]).unwrap()
}

fn tag() -> MigrationTag {
    MigrationTag::of(&MigrationId::new("m").unwrap())
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut world = Self {
            queue: Queue::new(setup.kind, setup.single_active, setup.window.into()),
            published: 0,
            parties: [None, None],
            journal: Rc::default(),
            controller_outbox: None,
            controller: Some(Rc::new(Controller::new(tag()))),
            told_gone: false,
            controller_read: 0,
            answer: None,
            stage: Stage::Begin,
            image: None,
            effects: Vec::new(),
            faults: setup.faults,
            crashed: false,
            violation: None,
        };
        let source = Source::new(setup.config(), instance(0), "source".into());
        world.parties[0] = Some(Rc::new(Party::new(Machine::Source(source), Vec::new())));
        world.feed(0, Event::Connected);
        let begin = Begin {
            migration: MigrationId::new("m").unwrap(),
            queue: "q".into(),
            source: instance(0),
            copy: instance(1),
            mode: HandoverChoice::Hold,
            record_bytes_max: 1 << 20,
        };
        world.control(ControllerEvent::Call(Call::Begin(begin)));
        world
    }

    /// What is wrong with this state, if anything.
    pub(super) fn violation(&self) -> Option<&'static str> {
        self.violation
    }

    /// Whether the queue has changed hands.
    pub(super) fn has_moved(&self) -> bool {
        let mut view = crate::protocol::JournalView::new(tag());
        for record in self.journal.iter() {
            view.read(record);
        }
        view.owner() == Owner::Copy
    }

    /// At the end, with nothing more to happen: is everything applied by who owns the queue?
    pub(super) fn unfinished(&self, setup: &Setup) -> Option<&'static str> {
        let mut view = crate::protocol::JournalView::new(tag());
        for record in self.journal.iter() {
            view.read(record);
        }
        let owner: Side = match view.owner() {
            Owner::Copy => 1,
            Owner::Source => 0,
            Owner::Undecided => {
                return if self.parties[0].is_none() || self.controller.is_none() { None } else { Some("undecided for ever") };
            }
        };
        // Whoever owned the queue has crashed, as a consumer may without any migration.
        let Some(party) = &self.parties[owner] else {
            let survived = owner == 0 && self.parties[1].as_ref().is_some_and(|copy| !copy.exited);
            return survived.then_some("stuck: the source has crashed and nobody succeeds it");
        };
        if party.applied.len() != usize::from(setup.messages) {
            return Some("stuck: the owner has not applied everything");
        }
        if !self.queue.all_acknowledged(setup.messages) {
            return Some("stuck: not everything is acknowledged");
        }
        let out = |n: u64| self.effects.iter().any(|(effect, _)| *effect == n);
        (1..=u64::from(setup.messages)).any(|n| !out(n)).then_some("an effect is missing")
    }

    /// Everything that can happen now, and what comes of it.
    pub(super) fn successors(&self, setup: &Setup) -> Vec<(Step, Self)> {
        self.enabled_steps(setup)
            .into_iter()
            .map(|step| {
                let mut next = self.clone();
                next.perform(step, setup);
                (step, next)
            })
            .collect()
    }

    pub(super) fn enabled_steps(&self, setup: &Setup) -> Vec<Step> {
        let mut steps = Vec::new();
        self.enabled(setup, &mut |step| steps.push(step));
        steps
    }

    fn enabled(&self, setup: &Setup, step: &mut impl FnMut(Step)) {
        if self.published < setup.messages {
            step(Step::Publish);
        }
        if self.queue.is_closing() {
            step(Step::FinishClose);
        }
        for side in 0..2 {
            let Some(party) = &self.parties[side] else { continue };
            if party.connected {
                if self.queue.channels[side].as_ref().is_some_and(|channel| !channel.in_flight.is_empty()) {
                    step(Step::Deliver(side));
                }
                if party.reads_journal && party.read < self.journal.len() {
                    step(Step::Read(side));
                }
                if !party.outbox.is_empty() {
                    step(Step::Land(side));
                }
                if !party.acks.is_empty() {
                    step(Step::Ack(side));
                }
                if party.awaits_no_consumers && self.queue.consumers() == 0 {
                    step(Step::NoConsumers(side));
                }
                if setup.kind == QueueKind::Stream && party.has_progress_to_tell() {
                    step(Step::Progress(side));
                }
                if [self.faults.source_disconnect, self.faults.copy_disconnect][side] > 0 {
                    step(Step::Disconnect(side));
                }
            } else {
                step(Step::Reconnect(side));
            }
            if [self.faults.source_crash, self.faults.copy_crash][side] > 0 {
                step(Step::Crash(side));
            }
        }
        let Some(controller) = &self.controller else {
            if self.faults.patience > 0 {
                step(Step::Patience);
            }
            return;
        };
        if self.controller_read == self.journal.len() && self.may_control(controller) {
            step(Step::Control);
        }
        if self.faults.abort > 0 && self.stage > Stage::Begin && self.stage < Stage::GiveBack && controller.view().end.is_none() {
            step(Step::Abort);
        }
        let waits = self.answer.is_none() && matches!(self.stage, Stage::HandOver | Stage::GiveBack);
        let hopeless = self.parties[1].is_none() || self.faults.deadline > 0;
        if waits && hopeless && self.stage == Stage::HandOver {
            step(Step::DeadlineOver);
        }
        if self.controller_outbox.is_some() {
            step(Step::LandTakeBack);
        }
        if self.faults.controller_crash > 0 {
            step(Step::ControllerCrash);
        }
    }

    fn may_control(&self, controller: &Controller) -> bool {
        match self.stage {
            Stage::HandOver if self.parties[0].is_none() && !self.told_gone => true,
            Stage::Begin | Stage::Park | Stage::Resume | Stage::HandOver | Stage::GiveBack => self.answer.is_some(),
            Stage::Checkpoint => self.parties[0].as_ref().is_some_and(|party| party.is_parked()) || controller.view().is_decided(),
            Stage::Restore => true,
            Stage::Done => false,
        }
    }

    pub(super) fn perform(&mut self, step: Step, setup: &Setup) {
        match step {
            Step::Publish => {
                self.queue.publish(self.published);
                self.published += 1;
            }
            Step::FinishClose => self.queue.finish_close(),
            Step::Deliver(side) => {
                let Some((tag, index, redelivered)) = self.queue.channels[side].as_mut().and_then(|channel| channel.in_flight.pop_front())
                else {
                    return;
                };
                let offset = (setup.kind == QueueKind::Stream).then_some(u64::from(index));
                self.feed(side, Event::Delivered(Delivered { tag, offset, redelivered, message: message(index) }));
            }
            Step::Read(side) => {
                let journal = Rc::clone(&self.journal);
                let party = self.party(side);
                let record = journal[party.read].clone();
                party.read += 1;
                self.feed(side, Event::Record { record, at_us: 1 });
            }
            Step::Land(side) => {
                let record = self.party(side).outbox.pop_front().unwrap();
                self.append(record);
            }
            Step::LandTakeBack => {
                if let Some(record) = self.controller_outbox.take() {
                    self.append(record);
                }
            }
            Step::Ack(side) => {
                let tag = self.party(side).acks.pop_front().unwrap();
                self.queue.acknowledge(side, tag);
            }
            Step::NoConsumers(side) => {
                self.party(side).awaits_no_consumers = false;
                self.feed(side, Event::NoConsumers);
            }
            Step::Progress(side) => self.feed(side, Event::ProgressDue),
            Step::Reconnect(side) => {
                self.party(side).connected = true;
                self.feed(side, Event::Connected);
            }
            Step::Disconnect(side) => {
                self.crashed = true;
                if side == 0 {
                    self.faults.source_disconnect -= 1;
                } else {
                    self.faults.copy_disconnect -= 1;
                }
                self.disconnect(side);
            }
            Step::Crash(side) => {
                self.crashed = true;
                if side == 0 {
                    self.faults.source_crash -= 1;
                } else {
                    self.faults.copy_crash -= 1;
                }
                self.queue.close(side, false);
                self.parties[side] = None;
            }
            Step::ControllerCrash => {
                self.faults.controller_crash -= 1;
                self.controller = None;
                self.faults.patience = 2;
            }
            Step::Control => self.go_on(setup),
            Step::Abort => {
                self.faults.abort -= 1;
                self.stage = Stage::GiveBack;
                self.control(ControllerEvent::Call(Call::Abort { reason: "asked".into() }));
            }
            Step::DeadlineOver => {
                self.faults.deadline = self.faults.deadline.saturating_sub(1);
                self.stage = Stage::GiveBack;
                self.control(ControllerEvent::DeadlineOver);
            }
            Step::Patience => {
                self.faults.patience -= 1;
                if self.parties[0].is_some() {
                    self.feed(0, Event::PatienceOver);
                }
            }
        }
    }

    /// The controller's next call.
    fn go_on(&mut self, setup: &Setup) {
        let refused = matches!(self.answer, Some(Answer::Refused(_) | Answer::SourceOwns { .. }));
        let answered_nothing = self.answer.take().is_none();
        let (stage, call) = match self.stage {
            _ if refused => (Stage::Done, None),
            Stage::Begin => (Stage::Park, Some(Call::Park)),
            Stage::Park => (Stage::Checkpoint, None),
            Stage::Checkpoint => {
                let Some(Party { machine: Machine::Source(source), applied, .. }) = self.parties[0].as_deref() else {
                    self.stage = Stage::Done;
                    return;
                };
                if source.is_parked() {
                    self.image = Some(Rc::new((source.image(), applied.clone())));
                }
                match self.image {
                    Some(_) if setup.hold => (Stage::Restore, None),
                    Some(_) => (Stage::Resume, Some(Call::Resume)),
                    None => (Stage::Done, None),
                }
            }
            Stage::Resume => (Stage::Restore, None),
            Stage::Restore => {
                if self.parties[1].is_none() {
                    let (image, applied) = (**self.image.as_ref().unwrap()).clone();
                    let copy = Copy::new(setup.config(), instance(1), "copy".into(), image, tag());
                    self.parties[1] = Some(Rc::new(Party::new(Machine::Copy(copy), applied)));
                    self.party(1).reads_journal = true;
                    self.feed(1, Event::Connected);
                }
                self.told_gone = self.parties[0].is_none();
                (Stage::HandOver, Some(Call::HandOver { source_gone: self.told_gone }))
            }
            Stage::HandOver if answered_nothing => {
                self.told_gone = true;
                (Stage::HandOver, Some(Call::HandOver { source_gone: true }))
            }
            Stage::HandOver | Stage::GiveBack | Stage::Done => (Stage::Done, None),
        };
        self.stage = stage;
        if let Some(call) = call {
            self.control(ControllerEvent::Call(call));
        }
    }

    fn control(&mut self, event: ControllerEvent) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(controller) = &mut self.controller else { return };
            let mut actions = Vec::new();
            Rc::make_mut(controller).step(event, &mut actions);
            for action in actions {
                match action {
                    ControllerAction::Append(record @ Record::TakeBack { .. }) => self.controller_outbox = Some(record),
                    ControllerAction::Append(record) => self.append(record),
                    ControllerAction::Invite(_) => {
                        if let Some(Party { machine: Machine::Source(source), reads_journal, .. }) =
                            self.parties[0].as_mut().map(Rc::make_mut)
                        {
                            source.invited(tag());
                            *reads_journal = true;
                        }
                    }
                    ControllerAction::Fence { .. } => {
                        self.disconnect(1);
                        events.push_back(ControllerEvent::Fenced);
                    }
                    ControllerAction::CutOff { .. } => self.disconnect(0),
                    ControllerAction::Answer(answer) => self.answer = Some(answer),
                }
            }
        }
    }

    /// Whether what this side sends can still be lost. If not, nothing is gained by delaying it.
    fn may_lose(&self, side: Side) -> bool {
        let faults = &self.faults;
        [faults.source_crash + faults.source_disconnect, faults.copy_crash + faults.copy_disconnect][side] > 0
    }

    fn party(&mut self, side: Side) -> &mut Party {
        Rc::make_mut(self.parties[side].as_mut().expect("only enabled for a party that lives"))
    }

    fn append(&mut self, record: Record) {
        if matches!(record, Record::Reject { .. }) {
            self.violation = Some("the copy rejects itself");
        }
        Rc::make_mut(&mut self.journal).push(record);
        // The controller reads at once: its delays are covered by the time of its calls.
        while self.controller.is_some() && self.controller_read < self.journal.len() {
            let record = self.journal[self.controller_read].clone();
            self.controller_read += 1;
            self.control(ControllerEvent::Record(record));
        }
    }

    fn disconnect(&mut self, side: Side) {
        self.queue.close(side, false);
        if self.parties[side].as_ref().is_some_and(|party| party.connected) {
            let party = self.party(side);
            party.connected = false;
            party.outbox.clear();
            party.acks.clear();
            party.awaits_no_consumers = false;
            self.feed(side, Event::Disconnected);
        }
    }

    /// The host's loop: an event in, its actions performed, and what they answer at once.
    fn feed(&mut self, side: Side, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(party) = self.parties[side].as_mut().map(Rc::make_mut) else { return };
            let mut actions = Vec::new();
            match &mut party.machine {
                Machine::Source(source) => source.step(event, &mut actions),
                Machine::Copy(copy) => copy.step(event, &mut actions),
            }
            for action in actions {
                self.perform_action(side, action, &mut events);
            }
        }
    }

    fn perform_action(&mut self, side: Side, action: Action, events: &mut VecDeque<Event>) {
        let may_lose = self.may_lose(side);
        let Some(party) = self.parties[side].as_mut().map(Rc::make_mut) else { return };
        match action {
            Action::Subscribe { from_offset } => {
                self.queue.subscribe(side, from_offset);
                events.push_back(Event::Subscribed);
            }
            Action::Close => {
                for tag in std::mem::take(&mut party.acks) {
                    self.queue.acknowledge(side, tag);
                }
                self.queue.close(side, true);
                events.push_back(Event::Closed);
            }
            Action::Cancel => {
                for tag in std::mem::take(&mut party.acks) {
                    self.queue.acknowledge(side, tag);
                }
                self.queue.cancel(side);
            }
            Action::Ack { tag } if may_lose => party.acks.push_back(tag),
            Action::Ack { tag } => self.queue.acknowledge(side, tag),
            Action::AwaitNoConsumers { .. } => party.awaits_no_consumers = true,
            Action::Apply { n, message, .. } => {
                let index: u8 = message.properties.message_id.unwrap().parse().unwrap();
                party.applied.push(index);
                party.kept_effects.push(n);
                if n != party.applied.len() as u64 || party.applied.iter().enumerate().any(|(at, index)| at != usize::from(*index)) {
                    self.violation = Some("lost, doubled or reordered");
                }
                events.push_back(Event::ApplyDone { determinants: Determinants::default(), began_at_us: 0, ended_at_us: 0 });
            }
            Action::Release { n } => {
                party.kept_effects.retain(|kept| *kept != n);
                let index = party.applied.get(n as usize - 1).copied().unwrap_or(u8::MAX);
                if !self.effects.contains(&(n, index)) {
                    self.effects.push((n, index));
                } else if !self.crashed {
                    self.violation = Some("an effect is out twice");
                }
                if self.effects.iter().filter(|(effect, _)| *effect == n).count() > 1 {
                    self.violation = Some("two different effects with one id");
                }
                events.push_back(Event::Flushed { n });
            }
            Action::Forget { n } => party.kept_effects.retain(|kept| *kept > n),
            Action::Append(record) if may_lose || !party.outbox.is_empty() => party.outbox.push_back(record),
            Action::Append(record) => self.append(record),
            Action::Parked { .. } | Action::Brake { .. } => {}
            Action::LeaveJournal => {
                party.reads_journal = false;
                if let Machine::Copy(copy) = &party.machine
                    && let Ok(source) = copy.clone().into_source()
                {
                    party.machine = Machine::Source(source);
                }
            }
            Action::Exit(exit) => {
                party.exited = true;
                if exit == Exit::Orphaned {
                    self.violation = Some("orphaned");
                }
                self.queue.close(side, true);
            }
        }
    }
}

impl Party {
    fn new(machine: Machine, applied: Vec<u8>) -> Self {
        Self {
            machine,
            connected: true,
            applied,
            outbox: VecDeque::new(),
            acks: VecDeque::new(),
            read: 0,
            reads_journal: false,
            awaits_no_consumers: false,
            kept_effects: Vec::new(),
            exited: false,
        }
    }

    /// Only the source's progress matters to anybody's decision.
    fn has_progress_to_tell(&self) -> bool {
        let Machine::Source(source) = &self.machine else { return false };
        let mut actions = Vec::new();
        source.clone().step(Event::ProgressDue, &mut actions);
        !actions.is_empty()
    }

    fn is_parked(&self) -> bool {
        matches!(&self.machine, Machine::Source(source) if source.is_parked())
    }
}

impl Setup {
    fn config(&self) -> ConsumerConfig {
        let mut config = ConsumerConfig::new(self.kind, self.single_active);
        config.run_ahead = 1;
        config.determinism = Determinism::Pure;
        config.window = self.window;
        config.ready_lag = 0;
        config.rules = self.rules;
        config
    }
}
