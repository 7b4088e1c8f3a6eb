//! The controller's machine: one call at a time, each answered from the journal, each safe to repeat from another process.

use ms2m_core::{Digest, HandoverChoice, HandoverMode, Protocol};

use crate::protocol::record::{Begin, Determinism, Joined, MigrationTag, Record};
use crate::protocol::verdict::{JournalView, Owner};

/// What the controller is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Open the migration and get the source's word.
    Begin(Begin),
    /// Stop the source at a safe point.
    Park,
    /// Let it go on.
    Resume,
    /// Hand the queue over.
    HandOver {
        /// Whether it is certain that the source has ended.
        source_gone: bool,
    },
    /// Give the queue back unless the copy has it.
    Abort {
        /// Why.
        reason: String,
    },
    /// End the migration.
    Retire {
        /// Whether it is certain that the source has ended: then nobody waits for its word.
        source_gone: bool,
    },
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The source takes part.
    Begun {
        /// Which log decides.
        protocol: Protocol,
        /// Which mode is taken.
        mode: HandoverMode,
        /// Messages applied when the journal began.
        n: u64,
    },
    /// The source stands.
    Parked {
        /// Last message applied.
        n: u64,
        /// Digest chain there.
        digest: Digest,
    },
    /// The source goes on.
    Resumed,
    /// The copy owns the queue.
    CopyOwns,
    /// The source owns the queue.
    SourceOwns {
        /// Why.
        reason: String,
    },
    /// Both sides have left; the journal can go.
    Retired,
    /// It cannot be done.
    Refused(Refusal),
}

/// Why a call cannot be done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The journal of this queue belongs to another migration.
    AlreadyMigrating(String),
    /// The consumer asks for Hold; Chase was demanded.
    NotDeterministic(Determinism),
    /// Somebody has aborted.
    Aborted(String),
    /// The copy owns the queue already.
    CopyOwns,
    /// The deadline passed while waiting for this.
    Timeout(&'static str),
    /// The call does not fit the state of the migration.
    OutOfOrder(&'static str),
}

/// Something that has happened at the controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ControllerEvent {
    /// A call. It replaces one that was not answered.
    Call(Call),
    /// The journal's next record.
    Record(Record),
    /// The journal's first record belongs to another migration, named here.
    Foreign(String),
    /// The connection stands again: what was appended and not read back may be lost.
    Connected,
    /// The copy's connection is cut off, or cannot be.
    Fenced,
    /// The call's deadline has passed.
    DeadlineOver,
}

/// What the host is asked to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ControllerAction {
    /// Append to the journal.
    Append(Record),
    /// Tell the source that there is a journal. Repeat until it joins.
    Invite(Begin),
    /// Cut a connection off at the broker if that is possible. Answer [`ControllerEvent::Fenced`].
    Fence {
        /// Its name.
        connection: String,
    },
    /// Cut the connection of a source off that is gone, should the broker not have noticed: its consumer would keep the copy away until the heartbeats run out.
    /// Nothing else depends on it, and nothing waits for it.
    CutOff {
        /// Its name.
        connection: String,
    },
    /// The call is answered.
    Answer(Answer),
}

/// The machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    view: JournalView,
    foreign: Option<String>,
    call: Option<Call>,
    /// The record that this call waits to read back.
    sent: Option<Record>,
    invited: bool,
    fencing: bool,
    fenced: bool,
    /// Whether the source's connection has been cut off.
    cut_off: bool,
    /// The hand-over took too long.
    giving_up: Option<String>,
}

impl Controller {
    /// Of a migration whose journal was not read yet.
    #[must_use]
    pub fn new(tag: MigrationTag) -> Self {
        Self {
            view: JournalView::new(tag),
            foreign: None,
            call: None,
            sent: None,
            invited: false,
            fencing: false,
            fenced: false,
            cut_off: false,
            giving_up: None,
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn view(&self) -> &JournalView {
        &self.view
    }

    /// Whether the journal belongs to another migration.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// One step: what has happened, and what to do about it.
    pub fn step(&mut self, event: ControllerEvent, out: &mut Vec<ControllerAction>) {
        match event {
            ControllerEvent::Call(call) => {
                self.call = Some(call);
                self.sent = None;
                self.invited = false;
                self.giving_up = None;
            }
            ControllerEvent::Record(record) => {
                if self.sent.as_ref() == Some(&record) {
                    self.sent = None;
                }
                self.view.read(&record);
            }
            ControllerEvent::Foreign(migration) => self.foreign = Some(migration),
            ControllerEvent::Connected => {
                self.sent = None;
                self.invited = false;
                self.fencing = false;
            }
            ControllerEvent::Fenced => self.fenced = true,
            ControllerEvent::DeadlineOver => self.deadline_over(out),
        }
        self.advance(out);
    }

    fn deadline_over(&mut self, out: &mut Vec<ControllerAction>) {
        let waits_for = match &self.call {
            None => return,
            Some(Call::HandOver { .. }) => {
                let reason = match self.view.owner() {
                    Owner::Undecided => "the copy has not taken the queue in time",
                    _ if self.view.fail_over => "the copy has not fenced the queue in time",
                    _ => "the source has not stopped in time",
                };
                self.giving_up.get_or_insert(reason.into());
                return;
            }
            Some(Call::Begin(_)) if self.view.begin.is_none() => "the journal to be written",
            Some(Call::Begin(_)) => "the source to join: does a consumer with the SDK run under this instance name?",
            Some(Call::Park) => "the source to park: it may hang, or a message takes longer than the deadline",
            Some(Call::Resume) => "the journal to be written",
            Some(Call::Abort { .. }) => "the journal to be written; the verdict is not known",
            Some(Call::Retire { .. }) if self.view.owner() == Owner::Copy => "the copy to leave the journal",
            Some(Call::Retire { .. }) => "the source to leave the journal",
        };
        self.answer(Answer::Refused(Refusal::Timeout(waits_for)), out);
    }

    fn answer(&mut self, answer: Answer, out: &mut Vec<ControllerAction>) {
        self.call = None;
        out.push(ControllerAction::Answer(answer));
    }

    fn append(&mut self, record: Record, out: &mut Vec<ControllerAction>) {
        if self.sent.as_ref() != Some(&record) {
            self.sent = Some(record.clone());
            out.push(ControllerAction::Append(record));
        }
    }

    fn advance(&mut self, out: &mut Vec<ControllerAction>) {
        let Some(call) = self.call.clone() else { return };
        if let Some(other) = &self.foreign {
            let answer = match call {
                Call::Abort { .. } => Answer::SourceOwns { reason: format!("the queue is migrating already (migration {other})") },
                // There is nothing of this migration to end, and the journal is not its own.
                Call::Retire { .. } => Answer::Retired,
                _ => Answer::Refused(Refusal::AlreadyMigrating(other.clone())),
            };
            return self.answer(answer, out);
        }
        match call {
            Call::Begin(begin) => self.begin(begin, out),
            Call::Park => match self.standing_in_the_way() {
                Some(refusal) => self.answer(Answer::Refused(refusal), out),
                None => match self.view.parked {
                    Some((n, digest)) => self.answer(Answer::Parked { n, digest }, out),
                    None => self.append_unless(self.view.park, Record::Park, out),
                },
            },
            Call::Resume => match self.standing_in_the_way() {
                Some(refusal) => self.answer(Answer::Refused(refusal), out),
                None if self.view.resume => self.answer(Answer::Resumed, out),
                None if !self.view.park => self.answer(Answer::Refused(Refusal::OutOfOrder("resume before park")), out),
                None => self.append(Record::Resume, out),
            },
            Call::HandOver { source_gone } => self.hand_over(source_gone, out),
            Call::Abort { reason } => self.give_back(&reason, out),
            Call::Retire { source_gone } => self.retire(source_gone, out),
        }
    }

    fn append_unless(&mut self, there: bool, record: Record, out: &mut Vec<ControllerAction>) {
        if !there {
            self.append(record, out);
        }
    }

    fn standing_in_the_way(&self) -> Option<Refusal> {
        match (&self.view.aborted, self.view.owner()) {
            (_, Owner::Copy) => Some(Refusal::CopyOwns),
            (Some(reason), _) => Some(Refusal::Aborted(reason.clone())),
            _ => None,
        }
    }

    fn begin(&mut self, begin: Begin, out: &mut Vec<ControllerAction>) {
        if let Some(refusal) = self.standing_in_the_way() {
            self.answer(Answer::Refused(refusal), out);
        } else if self.view.begin.is_none() {
            self.append(Record::Begin(begin), out);
        } else if let Some(joined) = &self.view.joined {
            let (protocol, n) = (joined.protocol, joined.n);
            let answer = match choose_mode(begin.mode, joined) {
                Ok(mode) => Answer::Begun { protocol, mode, n },
                Err(refusal) => Answer::Refused(refusal),
            };
            self.answer(answer, out);
        } else if !self.invited {
            self.invited = true;
            out.push(ControllerAction::Invite(begin));
        }
    }

    fn hand_over(&mut self, source_gone: bool, out: &mut Vec<ControllerAction>) {
        let is_out = self.view.source_left || self.view.fence.is_some() || self.view.fail_over || self.giving_up.is_some();
        if self.view.owner() == Owner::Copy && !is_out && !source_gone {
            // Whoever hears that the copy owns may end the source: not before it has let its effects out.
            return;
        }
        let rejected = self.view.rejected.as_ref().map(|reason| format!("the copy refuses itself: {reason}"));
        if let Some(reason) = self.giving_up.clone().or(rejected) {
            return self.give_back(&reason, out);
        }
        match (self.view.owner(), &self.view.aborted) {
            (Owner::Copy, _) if source_gone && !is_out => self.fail_over(out),
            (Owner::Copy, _) => self.answer(Answer::CopyOwns, out),
            (_, Some(reason)) => {
                let reason = reason.clone();
                self.answer(Answer::SourceOwns { reason }, out);
            }
            (Owner::Source, None) if source_gone => self.fail_over(out),
            (Owner::Source, None) => self.append_unless(self.view.hand_over, Record::HandOver, out),
            (Owner::Undecided, None) => {}
        }
    }

    fn fail_over(&mut self, out: &mut Vec<ControllerAction>) {
        self.append_unless(self.view.fail_over, Record::FailOver, out);
        if let Some(joined) = self.view.joined.as_ref().filter(|_| !self.cut_off) {
            self.cut_off = true;
            out.push(ControllerAction::CutOff { connection: joined.connection.clone() });
        }
    }

    /// Before END an ABORT, after it a fenced TAKEBACK; either may come too late.
    fn give_back(&mut self, reason: &str, out: &mut Vec<ControllerAction>) {
        let reason = reason.to_owned();
        match (self.view.owner(), self.view.aborted.clone()) {
            (Owner::Copy, _) => self.answer(Answer::CopyOwns, out),
            (_, Some(first)) => self.answer(Answer::SourceOwns { reason: first }, out),
            (Owner::Source, None) if self.view.begin.is_none() => self.answer(Answer::SourceOwns { reason }, out),
            (Owner::Source, None) => self.append(Record::Abort { reason }, out),
            (Owner::Undecided, None) => match self.view.copy_connection.clone().filter(|_| !self.fenced) {
                Some(connection) if !self.fencing => {
                    self.fencing = true;
                    out.push(ControllerAction::Fence { connection });
                }
                Some(_) => {}
                None => self.append(Record::TakeBack { reason }, out),
            },
        }
    }

    fn retire(&mut self, source_gone: bool, out: &mut Vec<ControllerAction>) {
        if !self.view.is_decided() {
            let never_begun = self.view.begin.is_none();
            let answer = if never_begun { Answer::Retired } else { Answer::Refused(Refusal::OutOfOrder("retire before the verdict")) };
            return self.answer(answer, out);
        }
        let source_is_out = self.view.source_left || source_gone || self.view.joined.is_none();
        let copy_owns = self.view.owner() == Owner::Copy;
        if source_is_out && (self.view.copy_left || !copy_owns) {
            self.answer(Answer::Retired, out);
        } else {
            self.append_unless(self.view.retire, Record::Retire, out);
        }
    }
}

/// Chase asks for a handler that does the same again. On streams nothing records what it took from outside.
fn choose_mode(choice: HandoverChoice, joined: &Joined) -> Result<HandoverMode, Refusal> {
    let chases = match joined.determinism {
        Determinism::Pure => true,
        Determinism::Recorded => joined.protocol == Protocol::Journal,
        Determinism::Unknown => false,
    };
    match choice {
        HandoverChoice::Hold => Ok(HandoverMode::Hold),
        HandoverChoice::Auto => Ok(if chases { HandoverMode::Chase } else { HandoverMode::Hold }),
        HandoverChoice::Chase if chases => Ok(HandoverMode::Chase),
        HandoverChoice::Chase => Err(Refusal::NotDeterministic(joined.determinism)),
    }
}
