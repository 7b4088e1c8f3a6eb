//! Performing the machine's actions.

use ms2m_broker::LinkError;
use ms2m_broker::link::{ConsumeOptions, OPERATION_DEADLINE};
use ms2m_broker::protocol::{Action, Event, Record};
use ms2m_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use super::Host;
use super::apply::Work;
use super::link::{JournalBlocks, within};
use super::machine::Machine;
use crate::handler::Handler;
use crate::snapshot::Snapshot;
use crate::snapshot_sink::Snapshotted;

impl<H: Handler> Host<H> {
    /// What needs no waiting: all that happens to a message outside a migration. Gives everything else back.
    pub(super) fn perform_at_once(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Apply { n, message, mode } => self.work = Some(Work { n, message, mode }),
            Action::Release { n } => {
                if let Some(n) = self.outbox.release(n) {
                    self.events.push_back(Event::Flushed { n });
                }
            }
            Action::Forget { n } => self.outbox.forget(n),
            Action::Ack { tag } => self.acks.note(tag),
            Action::Brake { permille } => self.brake.set(permille),
            Action::Exit(exit) => self.exit = Some(exit),
            other => return Some(other),
        }
        None
    }

    pub(super) async fn perform(&mut self, action: Action) {
        match action {
            Action::Subscribe { from_offset } => self.subscribe(from_offset).await,
            Action::Close => self.close_subscription().await,
            Action::Cancel => {
                let subscription = self.link.as_mut().and_then(|link| link.queue.as_mut());
                if let Some(subscription) = subscription
                    && let Err(error) = within(subscription.cancel()).await
                {
                    self.lose(error).await;
                }
            }
            Action::AwaitNoConsumers { fence } => {
                let journal = match self.applied_n {
                    _ if self.machine.is_migrating() => JournalBlocks::Never,
                    0 => JournalBlocks::UntilRemoved,
                    _ => JournalBlocks::UntilAbandoned,
                };
                if let Some(link) = &mut self.link {
                    link.await_free(&self.setup.broker, &self.setup.queue.name, fence, journal);
                }
            }
            Action::Append(record) => self.append(record).await,
            Action::Parked { .. } => {
                self.flush_acks().await;
                self.park_failed = self.put_snapshot().await.err().map(|error| error.to_string());
            }
            Action::LeaveJournal => self.leave_journal().await,
            _ => {}
        }
    }

    async fn subscribe(&mut self, from_offset: Option<u64>) {
        let Some(link) = &mut self.link else { return };
        let queue = &self.setup.queue.name;
        let options = ConsumeOptions { prefetch: self.setup.config.window, from_offset, tag: format!("ms2m-{}", self.instance) };
        match within(link.connection.consume(queue, &options)).await {
            Ok(subscription) => {
                link.queue = Some(subscription);
                // Tags count anew on every channel. One that fell due while the last one was being lost means other messages here.
                self.acks.take();
                self.recovered();
                self.events.push_back(Event::Subscribed);
            }
            Err(error) => self.lose(error).await,
        }
    }

    /// Deliveries that are here already are thrown away with the subscription; the broker gives them to the next consumer.
    async fn close_subscription(&mut self) {
        self.flush_acks().await;
        let Some(subscription) = self.link.as_mut().and_then(|link| link.queue.take()) else { return };
        match timeout(OPERATION_DEADLINE, subscription.close()).await {
            Ok(Ok(())) => self.events.push_back(Event::Closed),
            Ok(Err(error)) => self.lose(error).await,
            Err(_) => self.lose(LinkError::Unavailable("the channel's close was not answered".into())).await,
        }
    }

    async fn append(&mut self, record: Record) {
        // Whoever reads of a stop should find the acknowledgements before it done.
        if !matches!(record, Record::Applied(_) | Record::CopyProgress { .. } | Record::SourceProgress { .. }) {
            self.flush_acks().await;
        }
        let record = match (record, self.park_failed.take()) {
            (Record::Parked { .. }, Some(reason)) => {
                tracing::error!(reason, "no snapshot at the safe point; the migration is aborted");
                let reason = format!("the source could not write its snapshot: {reason}");
                if let Some(journal) = &mut self.journal {
                    journal.abort = Some(reason.clone());
                }
                Record::Abort { reason }
            }
            (record, _) => record,
        };
        self.write(&record).await;
    }

    /// Writes to the journal if there is one. What is lost with a connection is written again by whoever wanted it.
    pub(super) async fn write(&mut self, record: &Record) {
        let (Some(link), Some(journal)) = (&mut self.link, &self.journal) else { return };
        let Some(journal_link) = &mut link.journal else { return };
        match journal_link.append(record, journal.tag).await {
            Ok(()) => {}
            Err(LinkError::NotFound(_)) => self.journal_is_gone(),
            Err(error) => self.lose(error).await,
        }
    }

    /// Nothing can be read or written there any more; the machine decides what that means.
    pub(super) fn journal_is_gone(&mut self) {
        if let Some(link) = &mut self.link
            && link.journal.take().is_some()
        {
            self.events.push_back(Event::JournalGone);
        }
    }

    async fn leave_journal(&mut self) {
        self.journal = None;
        if let Some(journal_link) = self.link.as_mut().and_then(|link| link.journal.take()) {
            // Only courtesy: a reader that is merely dropped would be cancelled by the client library.
            let _ = timeout(OPERATION_DEADLINE, journal_link.reader.close()).await;
        }
        self.brake.set(1000);
        self.machine.settle();
    }

    /// A checkpoint that the consumer writes itself, if it is asked to.
    async fn put_snapshot(&mut self) -> Result<()> {
        let (Some(sink), Machine::Source(source)) = (&mut self.snapshots, &self.machine) else { return Ok(()) };
        let begin = self.journal.as_ref().and_then(|journal| journal.begin.as_ref());
        let Some(begin) = begin else { return Err(Error::undo(ErrorKind::Invariant, "parked without a BEGIN")) };
        let began_at = self.setup.clock.now();
        let state = self.handler.snapshot()?;
        let limits = &self.setup.limits;
        if state.len() as u64 > limits.snapshot_bytes_max {
            let text = format!("the state has {} bytes, the limit is {}", state.len(), limits.snapshot_bytes_max);
            return Err(Error::fatal(ErrorKind::LimitExceeded, text));
        }
        let bytes = Snapshot { queue: self.setup.queue.name.clone(), image: source.image(), state }.encode()?;
        let freeze = self.setup.clock.now().since(began_at);
        let snapshot = Snapshotted { migration: begin.migration.clone(), bytes, freeze };
        timeout(limits.snapshot_deadline, sink.put(snapshot))
            .await
            .unwrap_or_else(|_| Err(Error::undo(ErrorKind::Timeout, "the snapshot was not written in time")))
    }

    pub(super) async fn flush_acks(&mut self) {
        let Some(tag) = self.acks.take() else { return };
        let subscription = self.link.as_mut().and_then(|link| link.queue.as_mut());
        if let Some(subscription) = subscription
            && let Err(error) = within(subscription.ack_up_to(tag)).await
        {
            self.lose(error).await;
        }
    }
}
