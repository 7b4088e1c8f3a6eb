//! The copy's machine: it replays what the source has applied since the checkpoint, and takes the queue over at END or FENCE.
//!
//! Effects stay in until the journal says that the queue is the copy's. Between END and its own TAKEN it works ahead: it
//! applies what came with END, and neither acknowledges nor lets effects out before the verdict is read back.

use std::collections::VecDeque;

use ms2m_core::{Digest, DigestChain, InstanceId, Protocol};

use crate::message::MessageKey;
use crate::protocol::config::ConsumerConfig;
use crate::protocol::image::Image;
use crate::protocol::intake::{Intake, Pending};
use crate::protocol::membership::Membership;
use crate::protocol::record::{Applied, MigrationTag, Record, Role};
use crate::protocol::rules::Rule;
use crate::protocol::source::{Channel, Source};
use crate::protocol::step::{Action, ApplyMode, Delivered, Event, Exit};
use crate::protocol::verdict::Owner;

/// What the handler has in its hands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Applying {
    /// A journal record, and its key.
    Journaled(Applied, MessageKey),
    /// A message of the primary queue: its number, and whether the copy works as (future) owner.
    Queued(u64, Pending, bool),
}

/// The machine. Give it events, perform its actions in their order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Copy {
    config: ConsumerConfig,
    instance: InstanceId,
    connection: String,
    chain: DigestChain,
    intake: Intake,
    journal: Membership,
    channel: Channel,
    connected: bool,
    /// Journal records that wait for the handler. The host reads no further while [`Copy::wants_records`] says no.
    backlog: VecDeque<Applied>,
    /// Deliveries of the primary queue that arrived before the copy may look at them.
    held: Vec<Delivered>,
    /// Streams: the last digests, so that the one at END can be compared.
    recent: VecDeque<(u64, Digest)>,
    applying: Option<Applying>,
    /// From here on the copy works as (future) owner.
    live_from: Option<u64>,
    awaiting_no_consumers: bool,
    /// Nobody else was seen on the queue since this copy was last connected.
    queue_is_free: bool,
    released: u64,
    flushed: u64,
    next_offset: u64,
    joined_sent: bool,
    ready_sent: bool,
    fence_sent: bool,
    rejected: bool,
    left_sent: bool,
    /// First own message: when its apply began, and from when on it could have been served (0: since before the cut-over).
    first_applied: Option<(u64, u64)>,
    /// When the verdict was read; 0 before.
    owned_at_us: u64,
    ran_ahead: bool,
    progress_sent: (u64, bool),
    exited: bool,
}

/// How many journal records may wait for the handler.
pub const BACKLOG_RECORDS_MAX: usize = 1024;

impl Copy {
    /// A copy that wakes up with the state of an image taken at a safe point.
    #[must_use]
    pub fn new(config: ConsumerConfig, instance: InstanceId, connection: String, image: Image, migration: MigrationTag) -> Self {
        let intake = Intake::new(image.window.resized(config.window.into()), config.rules);
        let n = image.chain.n();
        Self {
            config,
            instance,
            connection,
            chain: image.chain,
            intake,
            journal: Membership::new(Role::Copy, migration),
            channel: Channel::Closed,
            connected: false,
            backlog: VecDeque::new(),
            held: Vec::new(),
            recent: VecDeque::from([(n, image.chain.digest())]),
            applying: None,
            live_from: None,
            awaiting_no_consumers: false,
            queue_is_free: false,
            released: n,
            flushed: n,
            next_offset: n,
            joined_sent: false,
            ready_sent: false,
            fence_sent: false,
            rejected: false,
            left_sent: false,
            first_applied: None,
            owned_at_us: 0,
            ran_ahead: false,
            progress_sent: (0, false),
            exited: false,
        }
    }

    /// Position and digest.
    #[must_use]
    pub fn chain(&self) -> DigestChain {
        self.chain
    }

    /// What would have to travel if this copy were checkpointed now.
    #[must_use]
    pub fn image(&self) -> Image {
        Image { chain: self.chain, window: self.intake.window().clone(), migration: Some(self.journal.view.tag()) }
    }

    /// Whether the host should read on in the journal.
    #[must_use]
    pub fn wants_records(&self) -> bool {
        self.backlog.len() < BACKLOG_RECORDS_MAX
    }

    /// Whether the journal says that this copy owns the queue.
    #[must_use]
    pub fn owns_queue(&self) -> bool {
        self.journal.view.owner() == Owner::Copy
    }

    /// Once this copy owns the queue and has left the journal, it is an ordinary consumer.
    ///
    /// # Errors
    /// Gives itself back while that is not so.
    pub fn into_source(self) -> Result<Source, Box<Self>> {
        if !(self.left_sent && self.owns_queue() && self.journal.view.copy_left) {
            return Err(Box::new(self));
        }
        let applying = match self.applying {
            Some(Applying::Queued(n, pending, _)) => Some((n, pending)),
            _ => None,
        };
        let source = Source::with_state(self.config, self.instance, self.connection, self.chain, self.intake);
        Ok(source.succeed(self.channel, self.connected, applying, (self.released, self.flushed), self.next_offset))
    }

    /// One step: what has happened, and what to do about it.
    pub fn step(&mut self, event: Event, out: &mut Vec<Action>) {
        if self.exited {
            return;
        }
        match event {
            Event::Connected => {
                self.connected = true;
                if self.joined_sent {
                    self.journal.reconnected(out);
                } else {
                    self.joined_sent = true;
                    let joined = Record::CopyJoined { n: self.chain.n(), connection: self.connection.clone() };
                    self.journal.append(joined, out);
                }
            }
            Event::Disconnected => {
                self.connected = false;
                self.channel = Channel::Closed;
                self.awaiting_no_consumers = false;
                self.queue_is_free = false;
                self.held.clear();
                self.intake.reset();
            }
            Event::Subscribed => self.channel = Channel::Open,
            Event::Closed => {
                self.channel = Channel::Closed;
                self.held.clear();
                self.intake.reset();
            }
            Event::Delivered(delivered) if self.channel == Channel::Open => self.deliver(delivered, out),
            Event::Delivered(_) => {}
            Event::NoConsumers => {
                self.awaiting_no_consumers = false;
                self.queue_is_free = true;
            }
            Event::ApplyDone { began_at_us, .. } => self.applied(began_at_us, out),
            Event::Flushed { n } => self.flushed = self.flushed.max(n),
            Event::Record { record, at_us } => self.read(record, at_us),
            Event::JournalGone => self.journal_gone(out),
            // The source and the controller have the deadlines; a copy that nobody needs is discarded from outside.
            Event::PatienceOver => {}
            Event::ProgressDue => self.tell_progress(out),
        }
        self.advance(out);
    }

    fn deliver(&mut self, delivered: Delivered, out: &mut Vec<Action>) {
        if self.config.protocol() == Protocol::Offset {
            match delivered.offset {
                Some(offset) if offset >= self.next_offset => {
                    self.next_offset = offset + 1;
                    self.intake.deliver(&delivered, Some(offset + 1));
                }
                _ => self.intake.skip(delivered.tag),
            }
        } else if self.live_from.is_some() {
            self.intake.deliver(&delivered, None);
        } else {
            let promoted = self.held.is_empty() && self.journal.view.end.is_none() && !self.fence_sent;
            self.held.push(delivered);
            if promoted {
                self.fence(out);
            }
        }
    }

    fn fence(&mut self, out: &mut Vec<Action>) {
        if !self.fence_sent && self.config.rules.hold(Rule::Fence) {
            self.fence_sent = true;
            let (n, digest) = (self.chain.n(), self.chain.digest());
            self.journal.append(Record::Fence { n, digest }, out);
        }
    }

    fn read(&mut self, record: Record, at_us: u64) {
        let counts = self.journal.read(&record);
        if counts && self.owned_at_us == 0 && self.owns_queue() {
            self.owned_at_us = at_us;
        }
        match record {
            Record::Applied(applied) if counts && applied.n > self.chain.n() => self.backlog.push_back(*applied),
            Record::Abort { .. } if !self.config.rules.hold(Rule::AbortBeforeEndWins) => self.journal.view.aborted = None,
            _ => {}
        }
    }

    fn applied(&mut self, began_at_us: u64, out: &mut Vec<Action>) {
        match self.applying.take() {
            Some(Applying::Journaled(applied, key)) => {
                self.chain.extend(key.as_bytes(), &applied.message.body);
                self.intake.replayed(applied.n, key);
                if self.config.rules.hold(Rule::CompareDigest) && self.chain.digest() != applied.digest {
                    self.reject(
                        format!(
                            "after message {} the copy's digest differs from the source's: the handler is not deterministic",
                            applied.n
                        ),
                        out,
                    );
                }
                self.forget(applied.n.saturating_sub(self.config.window.into()), out);
            }
            Some(Applying::Queued(n, pending, live)) => {
                if self.chain.n() + 1 != n {
                    self.chain = DigestChain::at(n - 1, self.chain.digest());
                }
                self.chain.extend(pending.key.as_bytes(), &pending.message.body);
                if live {
                    let available_at_us = pending.message.published_at_us().unwrap_or(0);
                    self.first_applied.get_or_insert((began_at_us, available_at_us));
                } else {
                    self.recent.push_back((n, self.chain.digest()));
                    while self.recent.len() as u64 > self.config.run_ahead + 2 {
                        self.recent.pop_front();
                    }
                    // Up to its last word the source has let everything out; END comes before that.
                    if self.journal.view.end.is_none() {
                        self.forget(self.journal.view.source_n.min(n), out);
                    }
                }
            }
            None => {}
        }
    }

    fn forget(&mut self, n: u64, out: &mut Vec<Action>) {
        if n > self.released {
            self.released = n;
            self.flushed = self.flushed.max(n);
            out.push(Action::Forget { n });
        }
    }

    fn reject(&mut self, reason: String, out: &mut Vec<Action>) {
        if !self.rejected {
            self.rejected = true;
            self.journal.append(Record::Reject { reason }, out);
        }
    }

    fn journal_gone(&mut self, out: &mut Vec<Action>) {
        if self.left_sent && self.owns_queue() {
            // Removed because both sides have left: the record of it was read by the controller, if not by this copy.
            self.journal.view.copy_left = true;
            out.push(Action::LeaveJournal);
        } else {
            let reason = "the journal was removed before this copy had taken the queue";
            self.exit(if self.owns_queue() { Exit::Orphaned } else { Exit::Discarded(reason.into()) }, out);
        }
    }

    fn exit(&mut self, exit: Exit, out: &mut Vec<Action>) {
        self.exited = true;
        out.push(Action::Exit(exit));
    }

    fn tell_progress(&mut self, out: &mut Vec<Action>) {
        // Told once the queue is certainly this copy's.
        let first_applied = self.first_applied.filter(|_| self.owns_queue());
        let now = (self.chain.n(), first_applied.is_some());
        let news = self.progress_sent != now && !self.left_sent;
        if news && self.joined_sent && self.connected && !self.journal.awaits(|record| matches!(record, Record::CopyProgress { .. })) {
            self.progress_sent = now;
            let (began_at_us, available_at_us) = first_applied.unwrap_or_default();
            let first_applied_at_us = if self.ran_ahead { self.owned_at_us } else { began_at_us };
            self.journal.append(Record::CopyProgress { n: now.0, first_applied_at_us, available_at_us }, out);
        }
    }

    /// Does everything that has become possible.
    fn advance(&mut self, out: &mut Vec<Action>) {
        if !self.connected || !self.journal.is_current() {
            return;
        }
        let view = &self.journal.view;
        if let Some(reason) = view.aborted.clone().filter(|_| view.owner() == Owner::Source) {
            self.stand_down(reason, out);
            return;
        }
        if self.rejected {
            self.close(out);
            return;
        }
        self.replay_next(out);
        self.decide(out);
        self.subscribe_if_due(out);
        self.work(out);
        self.leave_if_retired(out);
    }

    /// The queue stays with the source.
    fn stand_down(&mut self, reason: String, out: &mut Vec<Action>) {
        if self.channel == Channel::Closed {
            self.exit(Exit::Discarded(reason), out);
        } else {
            self.close(out);
        }
    }

    fn close(&mut self, out: &mut Vec<Action>) {
        if self.channel == Channel::Open {
            self.channel = Channel::Closing;
            out.push(Action::Close);
        }
    }

    /// Whether the source's part is over: it has let its effects out, acknowledged and left the queue, or it is certainly gone.
    fn source_is_out(&self) -> bool {
        let view = &self.journal.view;
        view.source_left || view.fence.is_some() || view.fail_over || view.retire
    }

    /// Whether this copy has read everything that was in the journal when it came.
    fn has_joined(&self) -> bool {
        self.joined_sent && !self.journal.awaits(|record| matches!(record, Record::CopyJoined { .. }))
    }

    fn replay_next(&mut self, out: &mut Vec<Action>) {
        while self.applying.is_none() && self.live_from.is_none() {
            let Some(applied) = self.backlog.pop_front() else { break };
            if applied.n != self.chain.n() + 1 {
                let reason = format!("the journal goes on with message {}, the copy stands at {}", applied.n, self.chain.n());
                self.reject(reason, out);
                return;
            }
            let (n, message, mode) = (applied.n, applied.message.clone(), ApplyMode::Replay(applied.determinants.clone()));
            let key = message.key();
            self.applying = Some(Applying::Journaled(applied, key));
            out.push(Action::Apply { n, message, mode });
        }
    }

    /// READY, then TAKEN or the fence, each once, when all that came before in the journal is applied.
    fn decide(&mut self, out: &mut Vec<Action>) {
        let view = &self.journal.view;
        if !self.has_joined() || self.rejected {
            return;
        }
        let behind = view.source_n.saturating_sub(self.chain.n());
        if !self.ready_sent && behind <= self.config.ready_lag {
            self.ready_sent = true;
            let n = self.chain.n();
            self.journal.append(Record::Ready { n }, out);
        }
        let view = &self.journal.view;
        let has_caught_up = self.backlog.is_empty() && !matches!(self.applying, Some(Applying::Journaled(..)));
        if self.live_from.is_some() || !has_caught_up {
            return;
        }
        if let Some(end) = view.end.clone() {
            if self.chain.n() < end.n {
                if self.config.protocol() == Protocol::Journal {
                    self.reject(format!("the source ended at {}, the journal at {}", end.n, self.chain.n()), out);
                }
                return;
            }
            let digest = self.recent.iter().find(|(n, _)| *n == end.n).map_or(self.chain.digest(), |(_, digest)| *digest);
            if digest != end.digest && self.config.rules.hold(Rule::CompareDigest) {
                self.reject(format!("at END ({}) the copy's digest differs from the source's", end.n), out);
                return;
            }
            if self.chain.n() > end.n {
                // A stream's copy has run ahead: its first own message is applied already, and served when its effects leave.
                self.ran_ahead = true;
                self.first_applied = Some((0, 0));
            }
            self.intake.inherit(&end.next);
            self.journal.append(Record::Taken { n: end.n, digest }, out);
            self.go_live(end.n);
        } else if view.fence.is_some() {
            // The source may not have let out the effects of what it had not acknowledged: they go out (again) with the same ids.
            let n = self.chain.n();
            self.go_live(n);
        } else if self.ready_sent && !self.config.rules.hold(Rule::LiveAfterVerdict) {
            let n = self.chain.n();
            self.go_live(n);
        } else if view.fail_over && !self.fence_sent {
            if self.config.single_active_consumer || self.config.protocol() == Protocol::Offset || self.queue_is_free {
                self.fence(out);
            } else if !self.awaiting_no_consumers {
                self.awaiting_no_consumers = true;
                out.push(Action::AwaitNoConsumers { fence: None });
            }
        }
    }

    fn go_live(&mut self, from: u64) {
        self.live_from = Some(from);
        for delivered in std::mem::take(&mut self.held) {
            self.intake.deliver(&delivered, None);
        }
    }

    fn subscribe_if_due(&mut self, out: &mut Vec<Action>) {
        if self.channel != Channel::Closed || self.rejected {
            return;
        }
        let joined = self.has_joined();
        let due = match self.config.protocol() {
            Protocol::Offset => joined,
            // The broker lets it wait behind the source.
            _ if self.config.single_active_consumer => joined,
            _ => self.live_from.is_some(),
        };
        let arbitrated = self.config.single_active_consumer || self.config.protocol() == Protocol::Offset;
        let as_if_arbitrated = !self.config.rules.hold(Rule::QueueAfterLeave);
        if !due || !(arbitrated || as_if_arbitrated || self.source_is_out()) {
            return;
        }
        if arbitrated || as_if_arbitrated || self.queue_is_free {
            self.channel = Channel::Opening;
            self.next_offset = match &self.applying {
                Some(Applying::Queued(n, ..)) => *n,
                _ => self.chain.n(),
            };
            let stream = self.config.protocol() == Protocol::Offset;
            out.push(Action::Subscribe { from_offset: stream.then_some(self.next_offset) });
        } else if !self.awaiting_no_consumers {
            self.awaiting_no_consumers = true;
            out.push(Action::AwaitNoConsumers { fence: None });
        }
    }

    /// Works on the primary queue: ahead of the verdict with everything kept in, after it as the owner.
    fn work(&mut self, out: &mut Vec<Action>) {
        let rules = self.config.rules;
        let certain = self.owns_queue() && self.source_is_out();
        let owner = self.live_from.is_some() && (certain || !rules.hold(Rule::TakenBeforeAck) || !rules.hold(Rule::LiveAfterVerdict));
        if owner {
            if self.journal.view.source_left && self.journal.view.fence.is_none() {
                // The source has let out everything up to END. What a source that did not get so far may have kept, goes out here.
                self.forget(self.live_from.unwrap_or_default(), out);
            }
            self.release(out);
        }
        let stream = self.config.protocol() == Protocol::Offset;
        // On a stream an acknowledgement is credit, not a claim.
        let settled = if owner {
            self.flushed
        } else if stream {
            self.chain.n()
        } else {
            0
        };
        if self.channel == Channel::Open
            && (owner || stream)
            && let Some(tag) = self.intake.acknowledge(settled)
        {
            out.push(Action::Ack { tag });
        }
        if self.applying.is_some() || self.rejected {
            return;
        }
        let live = self.live_from.is_some();
        let within = stream && self.has_joined() && self.chain.n() < self.journal.view.source_n + self.config.allowed_run_ahead();
        if (live || within)
            && let Some((n, pending)) = self.intake.take(self.chain.n() + 1)
        {
            let mode = if live { ApplyMode::Live } else { ApplyMode::Replay(crate::protocol::record::Determinants::default()) };
            out.push(Action::Apply { n, message: pending.message.clone(), mode });
            self.applying = Some(Applying::Queued(n, pending, live));
        }
    }

    fn release(&mut self, out: &mut Vec<Action>) {
        let n = self.chain.n();
        while self.released < n {
            self.released += 1;
            out.push(Action::Release { n: self.released });
        }
    }

    fn leave_if_retired(&mut self, out: &mut Vec<Action>) {
        let view = &self.journal.view;
        if !self.owns_queue() || !view.retire || !self.source_is_out() || self.live_from.is_none() {
            return;
        }
        if !self.left_sent {
            self.tell_progress(out);
            self.left_sent = true;
            let n = self.chain.n();
            self.journal.append(Record::Left { role: Role::Copy, n }, out);
        } else if view.copy_left {
            out.push(Action::LeaveJournal);
        }
    }
}
