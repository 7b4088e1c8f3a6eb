//! The controller's connection to one journal.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, MigrationId, ReplayProgress, Result};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};

use super::brake::Brake;
use super::options::JournalOptions;
use super::preflight::preflight;
use crate::link::{Broker, Connection, ConsumeOptions, LinkError, LinkResult, Publisher, QueueKind, QueueOptions, Subscription, body_only};
use crate::protocol::{
    Answer, Begin, Call, Controller, ControllerAction, ControllerEvent, JournalView, MigrationTag, Owner, Record, control_name,
    journal_name,
};

/// How many journal records may be on their way to the controller.
const READ_AHEAD: u16 = 500;
/// An invitation that was delivered and not answered may have been lost with the source's connection.
const INVITE_AGAIN: Duration = Duration::from_secs(1);
/// How long nothing has to come before the journal counts as read to its end. A hint: no decision rests on it.
const LOOK: Duration = Duration::from_millis(3);
/// How long ending in good order may take. It is courtesy: nothing depends on it.
const GOOD_ORDER: Duration = Duration::from_millis(500);
/// How long a look may take while records keep coming.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Pause between two tries of something that the broker refuses now.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// A connection, a reader, a writer and the machine.
pub(super) struct Session {
    broker: Arc<dyn Broker>,
    migration: MigrationId,
    journal: String,
    options: JournalOptions,
    tag: MigrationTag,
    machine: Controller,
    link: Link,
    next_offset: u64,
    /// When the controller last wrote.
    wrote_at: Instant,
    invitation: Option<Invitation>,
    brake: Brake,
}

/// An invitation that the source has not answered yet.
struct Invitation {
    begin: Begin,
    first: Instant,
    again: Instant,
    delivered: bool,
}

struct Link {
    connection: Arc<dyn Connection>,
    reader: Box<dyn Subscription>,
    writer: Box<dyn Publisher>,
}

impl Session {
    /// Preflight, and the journal declared.
    pub(super) async fn begin(broker: Arc<dyn Broker>, queue: &str, migration: &MigrationId, options: &JournalOptions) -> Result<Self> {
        let connection = broker.connect(&connection_name(migration)).await?;
        let journal = journal_name(queue);
        let exists = connection.queue_status(&journal).await?.is_some();
        if !exists {
            // A migration that goes on after a crash of its controller has passed this, and its source may be parked or gone.
            preflight(broker.as_ref(), connection.as_ref(), queue, options).await?;
            let log = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: Some(options.journal_bytes_max) };
            connection.declare(&journal, &log).await.map_err(|error| match error {
                LinkError::Refused(why) => {
                    let text =
                        format!("the journal cannot be declared: {why}; allow a stream of this name for this user (permissions, policies)");
                    Error::fatal(ErrorKind::Unsupported, text).with("journal", &journal)
                }
                other => other.into(),
            })?;
        }
        Self::attach(broker, connection, journal, migration, options).await
    }

    /// An existing journal.
    pub(super) async fn open(broker: Arc<dyn Broker>, queue: &str, migration: &MigrationId, options: &JournalOptions) -> Result<Self> {
        let connection = broker.connect(&connection_name(migration)).await?;
        Self::attach(broker, connection, journal_name(queue), migration, options).await
    }

    async fn attach(
        broker: Arc<dyn Broker>,
        connection: Arc<dyn Connection>,
        journal: String,
        migration: &MigrationId,
        options: &JournalOptions,
    ) -> Result<Self> {
        let link = Link::attach(connection, &journal, 0).await?;
        let tag = MigrationTag::of(migration);
        let mut session = Self {
            broker,
            migration: migration.clone(),
            journal,
            options: options.clone(),
            tag,
            machine: Controller::new(tag),
            link,
            next_offset: 0,
            wrote_at: Instant::now(),
            invitation: None,
            brake: Brake::default(),
        };
        session.read_to_the_end().await?;
        Ok(session)
    }

    pub(super) fn migration(&self) -> &MigrationId {
        &self.migration
    }

    pub(super) fn view(&self) -> &JournalView {
        self.machine.view()
    }

    /// Makes a call and reads the journal until it is answered.
    pub(super) async fn call(&mut self, call: Call, limit: Duration) -> Result<Answer> {
        let deadline = Instant::now() + limit;
        let retires = matches!(call, Call::Retire { .. });
        if retires {
            self.await_first_message().await?;
        }
        let mut events = vec![ControllerEvent::Call(call)];
        let mut is_over = false;
        loop {
            for event in std::mem::take(&mut events) {
                if let Some(answer) = self.step(event, &mut events).await? {
                    return Ok(answer);
                }
            }
            if !events.is_empty() {
                continue;
            }
            // After its deadline a hand-over gets as long again to find out who owns the queue.
            let until = if is_over { deadline + limit.max(self.options.call_deadline) } else { deadline };
            let wake = self.invitation.as_ref().map_or(until, |invitation| until.min(invitation.again));
            match timeout_at(wake, self.link.reader.next()).await {
                Ok(Ok(delivery)) => self.take(delivery.tag, delivery.offset, &delivery.message.body, &mut events).await?,
                Ok(Err(LinkError::NotFound(_))) => return Err(self.journal_missing()),
                Ok(Err(error)) => {
                    debug!(%error, "controller reconnects");
                    self.reconnect(until).await?;
                    events.push(ControllerEvent::Connected);
                }
                Err(_) if Instant::now() < until => self.invite_again().await?,
                Err(_) if !is_over => {
                    is_over = true;
                    events.push(ControllerEvent::DeadlineOver);
                }
                Err(_) => {
                    let text = "the outcome of the hand-over could not be learned from the journal in time";
                    return Err(Error::retry(ErrorKind::Timeout, text).with("journal", &self.journal));
                }
            }
        }
    }

    async fn step(&mut self, event: ControllerEvent, events: &mut Vec<ControllerEvent>) -> Result<Option<Answer>> {
        let mut actions = Vec::new();
        let mut answer = None;
        self.machine.step(event, &mut actions);
        for action in actions {
            match action {
                ControllerAction::Append(record) => self.append(&record).await,
                ControllerAction::Invite(begin) => {
                    let now = Instant::now();
                    self.invitation = Some(Invitation { begin, first: now, again: now, delivered: false });
                    self.invite_again().await?;
                }
                ControllerAction::Fence { connection } => {
                    // The verdict does not depend on it: TAKEN and TAKEBACK meet in the journal.
                    fence(&*self.broker, &connection, "the copy").await;
                    events.push(ControllerEvent::Fenced);
                }
                ControllerAction::CutOff { connection } => {
                    let broker = Arc::clone(&self.broker);
                    // It has a deadline of its own, and the journal is read meanwhile.
                    tokio::spawn(async move { fence(&*broker, &connection, "the source that is gone").await });
                }
                ControllerAction::Answer(given) => answer = Some(given),
            }
        }
        if answer.is_some() {
            self.invitation = None;
        }
        Ok(answer)
    }

    /// Writes. An error shows up at the reader as well, and then it is written again.
    async fn append(&mut self, record: &Record) {
        self.wrote_at = Instant::now();
        let written = match record.encode(self.tag) {
            Ok(body) => self.link.writer.publish(&self.journal, body_only(body)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            debug!(%error, "append failed");
        }
    }

    /// Sends the invitation, and plans the next one in case that it gets lost.
    async fn invite_again(&mut self) -> Result<()> {
        let Some(invitation) = &mut self.invitation else { return Ok(()) };
        if self.machine.view().joined.is_some() {
            self.invitation = None;
            return Ok(());
        }
        if Instant::now() < invitation.again {
            return Ok(());
        }
        let control = control_name(&invitation.begin.source);
        let body = Record::Begin(invitation.begin.clone()).encode(self.tag)?;
        let delivery = async { self.link.writer.publish(&control, body_only(body)).await?.await };
        match timeout(self.options.invite_deadline, delivery).await {
            Ok(Err(LinkError::NotFound(_))) => {
                if !invitation.delivered && invitation.first.elapsed() >= self.options.invite_deadline {
                    let text = format!(
                        "no consumer listens on {control}: the consumer has no ms2m SDK, or another instance name than {}, or no connection",
                        invitation.begin.source
                    );
                    return Err(Error::fatal(ErrorKind::NotFound, text));
                }
                invitation.again = Instant::now() + TRY_AGAIN;
            }
            Ok(Ok(())) => {
                invitation.delivered = true;
                invitation.again = Instant::now() + INVITE_AGAIN;
            }
            // A lost connection shows up at the reader.
            Ok(Err(_)) | Err(_) => invitation.again = Instant::now() + TRY_AGAIN,
        }
        Ok(())
    }

    async fn take(&mut self, tag: u64, offset: Option<u64>, body: &[u8], events: &mut Vec<ControllerEvent>) -> Result<()> {
        if let Err(error) = self.link.reader.ack_up_to(tag).await {
            debug!(%error, "credit was not given");
        }
        if offset.is_some_and(|offset| offset < self.next_offset) {
            return Ok(());
        }
        if offset.is_some_and(|offset| offset > self.next_offset) {
            let text = "the journal has lost its beginning to its size limit; raise journal_bytes_max or migrate sooner after the start";
            return Err(Error::undo(ErrorKind::LimitExceeded, text).with("journal", &self.journal));
        }
        self.next_offset = offset.map_or(self.next_offset, |offset| offset + 1);
        let (tag, record) = Record::decode_any(body)?;
        if tag == self.tag {
            events.push(ControllerEvent::Record(record));
        } else if let Record::Begin(begin) = record
            && self.machine.view().begin.is_none()
        {
            events.push(ControllerEvent::Foreign(begin.migration.to_string()));
        }
        Ok(())
    }

    /// Reads up to a mark of its own: what is not before it does not exist. A reader's first record can take 100 ms to come.
    async fn read_to_the_end(&mut self) -> Result<()> {
        let mark = self.mark();
        self.append(&mark).await;
        let deadline = Instant::now() + self.options.call_deadline;
        let mut events = Vec::new();
        loop {
            let delivery = match timeout_at(deadline, self.link.reader.next()).await {
                Ok(Ok(delivery)) => delivery,
                Ok(Err(LinkError::NotFound(_))) => return Err(self.journal_missing()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let text = "the journal cannot be read to its end in time";
                    return Err(Error::retry(ErrorKind::Timeout, text).with("journal", &self.journal));
                }
            };
            self.take(delivery.tag, delivery.offset, &delivery.message.body, &mut events).await?;
            for event in std::mem::take(&mut events) {
                if event == ControllerEvent::Record(mark.clone()) {
                    return Ok(());
                }
                self.step(event, &mut events).await?;
            }
        }
    }

    fn mark(&self) -> Record {
        Record::Mark { nonce: RandomState::new().hash_one(self.next_offset) }
    }

    /// A source that hears nothing for long leaves the migration, so something is written now and then.
    pub(super) async fn keep_contact(&mut self) {
        if self.wrote_at.elapsed() >= self.options.silence_max {
            let mark = self.mark();
            self.append(&mark).await;
        }
    }

    /// Reads what is there now, without waiting for more than a moment.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let mut events = Vec::new();
        let until = Instant::now() + LOOK_MAX;
        while Instant::now() < until {
            match timeout(LOOK, self.link.reader.next()).await {
                Ok(Ok(delivery)) => self.take(delivery.tag, delivery.offset, &delivery.message.body, &mut events).await?,
                Ok(Err(LinkError::NotFound(_))) => return Err(self.journal_missing()),
                Ok(Err(error)) => {
                    debug!(%error, "controller reconnects");
                    self.reconnect(Instant::now() + self.options.call_deadline).await?;
                    events.push(ControllerEvent::Connected);
                }
                Err(_) => break,
            }
            for event in std::mem::take(&mut events) {
                self.step(event, &mut events).await?;
            }
        }
        Ok(())
    }

    /// The gap is known only when the copy has served; give it a moment.
    async fn await_first_message(&mut self) -> Result<()> {
        let until = Instant::now() + self.options.first_message_deadline;
        while self.view().owner() == Owner::Copy
            && self.view().end.is_some()
            && self.view().first_applied.is_none()
            && Instant::now() < until
        {
            self.catch_up().await?;
        }
        Ok(())
    }

    /// Slows the source down when the copy cannot catch up.
    pub(super) async fn brake(&mut self, progress: &ReplayProgress) {
        if let Some(permille) = self.brake.observe(progress, Instant::now()) {
            warn!(permille, lag = progress.lag(), "the copy does not catch up: the source is slowed down to this share of its rate");
            self.append(&Record::Brake { permille }).await;
        }
    }

    /// Both sides have left.
    pub(super) async fn remove_journal(self) -> Result<()> {
        let Link { connection, reader, .. } = self.link;
        // The reader goes first: a channel that the broker closes under it can keep the connection's close from being answered.
        let _ = timeout(GOOD_ORDER, reader.close()).await;
        let removed = if self.machine.is_foreign() { Ok(()) } else { connection.delete(&self.journal).await };
        let _ = timeout(GOOD_ORDER, connection.close()).await;
        removed.map_err(Error::from)
    }

    async fn reconnect(&mut self, until: Instant) -> Result<()> {
        loop {
            let link = match self.broker.connect(&connection_name(&self.migration)).await {
                Ok(connection) => Link::attach(connection, &self.journal, self.next_offset).await,
                Err(error) => Err(error),
            };
            match link {
                Ok(link) => {
                    self.link = link;
                    return Ok(());
                }
                Err(LinkError::NotFound(_)) => return Err(self.journal_missing()),
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(_) => sleep(TRY_AGAIN).await,
            }
        }
    }

    fn journal_missing(&self) -> Error {
        let text = "the journal does not exist: the migration has ended, or somebody has removed it";
        Error::fatal(ErrorKind::NotFound, text).with("journal", &self.journal)
    }
}

impl Link {
    async fn attach(connection: Arc<dyn Connection>, journal: &str, from_offset: u64) -> LinkResult<Self> {
        let options = ConsumeOptions { prefetch: READ_AHEAD, from_offset: Some(from_offset), tag: "ms2m-controller".into() };
        let reader = connection.consume(journal, &options).await?;
        let writer = connection.publisher().await?;
        Ok(Self { connection, reader, writer })
    }
}

fn connection_name(migration: &MigrationId) -> String {
    format!("ms2m-controller-{migration}")
}

/// Cuts a connection off, where the broker can do that.
async fn fence(broker: &dyn Broker, connection: &str, whose: &'static str) {
    match broker.fence(connection).await {
        Ok(true) => debug!(connection, whose, "fenced"),
        Ok(false) => debug!(connection, whose, "this broker offers no fence"),
        Err(error) => warn!(%error, connection, whose, "could not be fenced"),
    }
}
