//! The source's machine: an ordinary consumer that can be asked to hand its queue over.
//!
//! Outside a migration it numbers, digests, recognises redeliveries and acknowledges cumulatively. Inside one it appends each
//! applied message to the journal and acknowledges it only after it has read it back; it parks at safe points; it stops at END.

use ms2m_core::{DigestChain, InstanceId, Protocol};

use crate::message::Message;
use crate::protocol::config::ConsumerConfig;
use crate::protocol::image::Image;
use crate::protocol::intake::{Intake, Pending, Window};
use crate::protocol::membership::Membership;
use crate::protocol::record::{Applied, Determinants, End, Joined, MigrationTag, RECORD_OVERHEAD_BYTES, Record, Role};
use crate::protocol::rules::Rule;
use crate::protocol::step::{Action, ApplyMode, Event, Exit};
use crate::protocol::verdict::Owner;

/// Where the consumer on the primary queue stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Channel {
    Closed,
    Opening,
    Open,
    Closing,
}

/// The source's part in a migration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Handover {
    journal: Membership,
    /// Last number applied before the journal began.
    joined_n: u64,
    parked: bool,
    end_sent: bool,
    abort_sent: bool,
    left_sent: bool,
}

/// The machine. Give it events, perform its actions in their order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Source {
    config: ConsumerConfig,
    instance: InstanceId,
    connection: String,
    chain: DigestChain,
    intake: Intake,
    channel: Channel,
    connected: bool,
    /// Somebody may be on the queue: the copy, another consumer, or what the broker has left of this consumer's last channel.
    shared: bool,
    awaiting_no_consumers: bool,
    /// The message in the handler's hands, and its number.
    applying: Option<(u64, Pending)>,
    /// Effects up to here were let out …
    released: u64,
    /// … and taken over.
    flushed: u64,
    last_applied_at_us: u64,
    /// On streams: the next offset wanted.
    next_offset: u64,
    handover: Option<Handover>,
    exited: bool,
}

impl Source {
    /// A consumer that has applied nothing yet.
    #[must_use]
    pub fn new(config: ConsumerConfig, instance: InstanceId, connection: String) -> Self {
        let intake = Intake::new(Window::new(config.window.into()), config.rules);
        Self::with_state(config, instance, connection, DigestChain::default(), intake)
    }

    /// A consumer that goes on from an image without a migration (a restart from a saved state).
    #[must_use]
    pub fn from_image(config: ConsumerConfig, instance: InstanceId, connection: String, image: Image) -> Self {
        let intake = Intake::new(image.window.resized(config.window.into()), config.rules);
        Self::with_state(config, instance, connection, image.chain, intake)
    }

    pub(crate) fn with_state(config: ConsumerConfig, instance: InstanceId, connection: String, chain: DigestChain, intake: Intake) -> Self {
        let n = chain.n();
        Self {
            config,
            instance,
            connection,
            chain,
            intake,
            channel: Channel::Closed,
            connected: false,
            // A container that is started again, on a node that was lost while its consumer was moved, begins like any other.
            shared: true,
            awaiting_no_consumers: false,
            applying: None,
            released: n,
            flushed: n,
            last_applied_at_us: 0,
            next_offset: n,
            handover: None,
            exited: false,
        }
    }

    /// A copy that has taken over and left the journal goes on as an ordinary consumer.
    pub(crate) fn succeed(
        mut self,
        channel: Channel,
        connected: bool,
        applying: Option<(u64, Pending)>,
        (released, flushed): (u64, u64),
        next_offset: u64,
    ) -> Self {
        self.connected = connected;
        self.channel = channel;
        self.applying = applying;
        (self.released, self.flushed) = (released, flushed);
        self.next_offset = next_offset;
        self
    }

    /// Position and digest.
    #[must_use]
    pub fn chain(&self) -> DigestChain {
        self.chain
    }

    /// What has to travel with the application's state: valid at a safe point, between two messages.
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            chain: self.chain,
            window: self.intake.window().clone(),
            migration: self.handover.as_ref().map(|handover| handover.journal.view.tag()),
        }
    }

    /// Whether it takes part in a migration.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.handover.is_some()
    }

    /// Whether it stands still at a safe point because the controller asked it to.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.parked && self.applying.is_none() && handover.journal.view.parks_source())
    }

    /// Whether it waits until nobody else consumes from its queue.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.awaiting_no_consumers
    }

    /// An invitation has come: the journal's records follow as events, from its start.
    pub fn invited(&mut self, migration: MigrationTag) {
        if self.handover.is_none() && !self.exited {
            // Who waits outside a migration waits for more than who waits in one.
            self.awaiting_no_consumers = false;
            self.handover = Some(Handover {
                journal: Membership::new(Role::Source, migration),
                joined_n: self.chain.n(),
                parked: false,
                end_sent: false,
                abort_sent: false,
                left_sent: false,
            });
        }
    }

    /// One step: what has happened, and what to do about it.
    pub fn step(&mut self, event: Event, out: &mut Vec<Action>) {
        if self.exited {
            return;
        }
        match event {
            Event::Connected => {
                self.connected = true;
                if let Some(handover) = &mut self.handover {
                    handover.journal.reconnected(out);
                }
            }
            Event::Disconnected => {
                self.connected = false;
                self.shared |= self.channel != Channel::Closed;
                self.awaiting_no_consumers = false;
                self.channel = Channel::Closed;
                self.intake.reset();
            }
            Event::Subscribed => self.channel = Channel::Open,
            Event::Closed => {
                // A quorum queue answers a close before it has taken the messages back.
                self.shared = true;
                self.channel = Channel::Closed;
                self.intake.reset();
            }
            Event::Delivered(delivered) if self.channel == Channel::Open => {
                let next_offset = self.next_offset;
                match delivered.offset {
                    Some(offset) if offset < next_offset => self.intake.skip(delivered.tag),
                    Some(offset) => {
                        self.next_offset = offset + 1;
                        self.intake.deliver(&delivered, Some(offset + 1));
                    }
                    None => self.intake.deliver(&delivered, None),
                }
            }
            // What arrives while the channel closes belongs to the next consumer.
            Event::Delivered(_) => {}
            Event::NoConsumers => {
                self.awaiting_no_consumers = false;
                // True of now alone: one that may not consume any more asks again when it may.
                self.shared = !self.may_consume();
            }
            Event::ApplyDone { determinants, ended_at_us, .. } => self.applied(determinants, ended_at_us, out),
            Event::Flushed { n } => self.flushed = self.flushed.max(n),
            Event::Record { record, .. } => self.read(&record, out),
            Event::JournalGone => self.journal_gone(out),
            Event::PatienceOver => self.lose_patience(out),
            Event::ProgressDue => self.tell_progress(out),
        }
        self.advance(out);
    }

    fn applied(&mut self, determinants: Determinants, at_us: u64, out: &mut Vec<Action>) {
        let Some((n, pending)) = self.applying.take() else { return };
        if self.chain.n() + 1 != n {
            // A stream's retention has cut messages away; numbers stay its offsets.
            self.chain = DigestChain::at(n - 1, self.chain.digest());
        }
        self.chain.extend(pending.key.as_bytes(), &pending.message.body);
        self.last_applied_at_us = at_us;
        let digest = self.chain.digest();
        if self.journals()
            && let Some(handover) = &mut self.handover
        {
            handover.journal.append(Record::Applied(Box::new(Applied { n, digest, message: pending.message, determinants })), out);
        }
    }

    fn read(&mut self, record: &Record, out: &mut Vec<Action>) {
        let Some(handover) = &mut self.handover else { return };
        let counts = handover.journal.read(record);
        let view = &handover.journal.view;
        match record {
            Record::Begin(begin) if counts => {
                if begin.source == self.instance && view.joined.is_none() {
                    let joined = Joined {
                        n: self.chain.n(),
                        window: self.config.window,
                        protocol: self.config.protocol(),
                        determinism: self.config.determinism,
                        connection: self.connection.clone(),
                    };
                    handover.joined_n = joined.n;
                    handover.journal.append(Record::Joined(joined), out);
                } else if begin.source != self.instance {
                    self.handover = None;
                    out.push(Action::LeaveJournal);
                }
            }
            Record::Brake { permille } => out.push(Action::Brake { permille: *permille }),
            // Read back in vain: an ABORT came first.
            Record::End(_) if !counts && view.end.is_none() => handover.end_sent = false,
            Record::TakeBack { .. } if !self.config.rules.hold(Rule::TakenWins) => {
                handover.journal.view.taken = None;
                handover.journal.view.aborted = Some("mutation".into());
            }
            _ => {}
        }
    }

    /// Whether applied messages go to the journal.
    fn journals(&self) -> bool {
        self.config.protocol() == Protocol::Journal
            && self.handover.as_ref().is_some_and(|handover| {
                let view = &handover.journal.view;
                let begun = self.config.rules.hold(Rule::JournalBeforeCheckpoint) || view.copy_connection.is_some();
                view.begin.is_some() && !view.is_decided() && begun
            })
    }

    fn hands_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| {
            let view = &handover.journal.view;
            view.hand_over && view.ready && !view.is_decided()
        })
    }

    /// Delivered and unapplied messages, as many as fit into one record.
    fn fitting_next(&self) -> Vec<Message> {
        if self.config.protocol() == Protocol::Offset {
            return Vec::new();
        }
        let mut room = self.record_room();
        let fits = |pending: &&Pending| {
            let bytes = pending.message.encoded_bytes();
            room = room.saturating_sub(bytes);
            room > 0
        };
        self.intake.pending().iter().take_while(fits).map(|pending| pending.message.clone()).collect()
    }

    fn record_room(&self) -> usize {
        let limit = self
            .handover
            .as_ref()
            .and_then(|handover| handover.journal.view.begin.as_ref())
            .map_or(u64::MAX, |begin| begin.record_bytes_max);
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(RECORD_OVERHEAD_BYTES)
    }

    fn send_end(&mut self, next: Vec<Message>, out: &mut Vec<Action>) {
        let end = End { n: self.chain.n(), digest: self.chain.digest(), next, last_applied_at_us: self.last_applied_at_us };
        if let Some(handover) = &mut self.handover
            && !handover.end_sent
        {
            handover.end_sent = true;
            handover.journal.append(Record::End(end), out);
        }
    }

    fn journal_gone(&mut self, out: &mut Vec<Action>) {
        let Some(handover) = self.handover.take() else { return };
        out.push(Action::LeaveJournal);
        // A living consumer on the queue proves ownership only before END: nobody can FENCE while it stands, but TAKEN follows END.
        let may_be_taken = self.channel != Channel::Open || handover.end_sent;
        let undecided = may_be_taken && !handover.left_sent && handover.journal.view.joined.is_some();
        if handover.journal.view.owner() == Owner::Copy {
            self.exit(Exit::Moved, out);
        } else if undecided {
            self.exit(Exit::Orphaned, out);
        }
    }

    fn lose_patience(&mut self, out: &mut Vec<Action>) {
        let Some(handover) = &mut self.handover else { return };
        let reason = || "the source has heard nothing from the controller for too long".to_owned();
        match handover.journal.view.owner() {
            Owner::Source if handover.journal.view.aborted.is_none() => {
                if !handover.journal.awaits(|record| matches!(record, Record::Abort { .. })) {
                    handover.journal.append(Record::Abort { reason: reason() }, out);
                }
            }
            Owner::Undecided => {
                if !handover.journal.awaits(|record| matches!(record, Record::TakeBack { .. })) {
                    handover.journal.append(Record::TakeBack { reason: reason() }, out);
                }
            }
            Owner::Source | Owner::Copy => {}
        }
    }

    fn tell_progress(&mut self, out: &mut Vec<Action>) {
        let (n, digest) = (self.chain.n(), self.chain.digest());
        let settled = self.flushed == n;
        if let Some(handover) = &mut self.handover
            && self.config.protocol() == Protocol::Offset
            && settled
            && handover.journal.view.joined.is_some()
            && !handover.journal.view.is_decided()
            && handover.journal.view.end.is_none()
            && handover.journal.view.source_n < n
            && !handover.journal.awaits(|record| matches!(record, Record::SourceProgress { .. }))
        {
            handover.journal.append(Record::SourceProgress { n, digest }, out);
        }
    }

    /// Does everything that has become possible.
    fn advance(&mut self, out: &mut Vec<Action>) {
        self.release(out);
        self.acknowledge(out);
        self.settle_migration(out);
        if self.exited {
            return;
        }
        if self.connected && self.channel == Channel::Closed && self.may_consume() && self.is_alone(out) {
            self.channel = Channel::Opening;
            let stream = self.config.protocol() == Protocol::Offset;
            self.next_offset = self.applying.as_ref().map_or(self.chain.n(), |(n, _)| *n);
            out.push(Action::Subscribe { from_offset: stream.then_some(self.next_offset) });
        }
        self.apply_next(out);
    }

    /// Whether a new consumer can get nothing ahead of what an older one still holds. The broker sees to it where there is a
    /// single active consumer; a stream gives everything to everybody.
    fn is_alone(&mut self, out: &mut Vec<Action>) -> bool {
        let alone = !self.shared || !self.config.rules.hold(Rule::AloneOnQueue);
        if alone || self.config.single_active_consumer || self.config.protocol() == Protocol::Offset {
            return true;
        }
        if !self.awaiting_no_consumers {
            self.awaiting_no_consumers = true;
            let view = self.handover.as_ref().map(|handover| &handover.journal.view);
            let fence = view.filter(|view| view.end.is_some()).and_then(|view| view.copy_connection.clone());
            out.push(Action::AwaitNoConsumers { fence });
        }
        false
    }

    fn release(&mut self, out: &mut Vec<Action>) {
        let n = self.chain.n();
        let limit = match &self.handover {
            Some(handover) if self.config.protocol() == Protocol::Journal && self.config.rules.hold(Rule::JournalBeforeAck) => {
                let view = &handover.journal.view;
                match view.owner() {
                    Owner::Source if view.aborted.is_some() || view.begin.is_none() => n,
                    Owner::Source if self.config.rules.hold(Rule::JournalBeforeCheckpoint) => view.source_n.max(handover.joined_n).min(n),
                    Owner::Source => n,
                    // What stands before END is this source's to let out; what stands behind a FENCE is the copy's.
                    Owner::Undecided | Owner::Copy if view.fence.is_none() => view.source_n.max(handover.joined_n).min(n),
                    Owner::Undecided | Owner::Copy => self.released,
                }
            }
            _ => n,
        };
        if self.released < limit && self.config.protocol() == Protocol::Offset {
            // A stream need not begin at 0; effects are released message by message, so only the last number can be due.
            self.released = limit - 1;
        }
        while self.released < limit {
            self.released += 1;
            out.push(Action::Release { n: self.released });
        }
    }

    fn acknowledge(&mut self, out: &mut Vec<Action>) {
        if self.channel == Channel::Open
            && let Some(tag) = self.intake.acknowledge(self.flushed)
        {
            out.push(Action::Ack { tag });
        }
    }

    fn settle_migration(&mut self, out: &mut Vec<Action>) {
        let (idle, flushed) = (self.applying.is_none(), self.flushed == self.chain.n());
        let (n, digest, hands_over) = (self.chain.n(), self.chain.digest(), self.hands_over());
        let Some(handover) = &mut self.handover else { return };
        let view = &handover.journal.view;
        if !self.connected || !handover.journal.is_current() {
            return;
        }
        if view.owner() != Owner::Source {
            // Everything before END is let out and acknowledged first; after a FENCE nothing here counts any more.
            if view.fence.is_some() || idle && flushed {
                self.give_up(out);
            }
        } else if view.aborted.is_some() {
            if !handover.left_sent {
                handover.left_sent = true;
                handover.parked = false;
                handover.journal.append(Record::Left { role: Role::Source, n }, out);
                out.push(Action::Brake { permille: 1000 });
            } else if view.source_left {
                self.handover = None;
                out.push(Action::LeaveJournal);
            }
        } else if hands_over && idle && !handover.end_sent {
            // END follows the last message at once: the copy begins to work ahead while this side clears up.
            let next = self.fitting_next();
            self.send_end(next, out);
            if !self.config.rules.hold(Rule::CloseNotCancel) && self.channel == Channel::Open {
                out.push(Action::Cancel);
            }
        } else if view.parks_source() && idle && flushed && !handover.parked && view.joined.is_some() {
            handover.parked = true;
            out.push(Action::Parked { n, digest });
            handover.journal.append(Record::Parked { n, digest }, out);
        }
    }

    /// Off the queue; then say so, and wait to be ended.
    fn give_up(&mut self, out: &mut Vec<Action>) {
        match self.channel {
            Channel::Open => self.close(out),
            Channel::Opening | Channel::Closing => {}
            Channel::Closed => {
                self.intake.abandon();
                let n = self.chain.n();
                let Some(handover) = &mut self.handover else { return };
                let view = &handover.journal.view;
                if view.retire && view.source_left {
                    self.exit(Exit::Moved, out);
                } else if !handover.left_sent {
                    handover.left_sent = true;
                    handover.journal.append(Record::Left { role: Role::Source, n }, out);
                }
            }
        }
    }

    fn close(&mut self, out: &mut Vec<Action>) {
        if self.channel == Channel::Open {
            self.channel = Channel::Closing;
            out.push(Action::Close);
        }
    }

    fn exit(&mut self, exit: Exit, out: &mut Vec<Action>) {
        self.exited = true;
        out.push(Action::Exit(exit));
    }

    /// Whether this consumer may be registered on the queue.
    fn may_consume(&self) -> bool {
        self.handover.as_ref().is_none_or(|handover| {
            let view = &handover.journal.view;
            let may_work = view.owner() == Owner::Source && !self.hands_over() && !view.parks_source();
            handover.journal.is_current() && may_work
        })
    }

    fn apply_next(&mut self, out: &mut Vec<Action>) {
        if self.applying.is_some() || self.channel != Channel::Open || !self.may_consume() {
            return;
        }
        if self.journals() {
            let room = self.record_room();
            if let Some(front) = self.intake.pending().front()
                && front.message.encoded_bytes() > room
            {
                let bytes = front.message.encoded_bytes();
                self.refuse_oversized(bytes, room, out);
                return;
            }
        }
        if let Some((n, pending)) = self.intake.take(self.chain.n() + 1) {
            out.push(Action::Apply { n, message: pending.message.clone(), mode: ApplyMode::Live });
            self.applying = Some((n, pending));
        }
    }

    fn refuse_oversized(&mut self, bytes: usize, room: usize, out: &mut Vec<Action>) {
        let Some(handover) = &mut self.handover else { return };
        if !handover.abort_sent {
            handover.abort_sent = true;
            let reason = format!(
                "a message of {bytes} bytes does not fit into a journal record of at most {room}; raise the broker's max_message_size, or migrate with mode hold"
            );
            handover.journal.append(Record::Abort { reason }, out);
        }
    }
}
