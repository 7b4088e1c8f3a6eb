//! A migration's journal as the host sees it: where it reads, what it writes, and how long it was quiet.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use ms2m_broker::link::{Confirm, ConsumeOptions, Delivery, LinkResult, OPERATION_DEADLINE, Publisher, Subscription, body_only};
use ms2m_broker::protocol::{Begin, MigrationTag, Record, journal_name};
use ms2m_broker::{Connection, LinkError};
use tokio::time::Instant;

use super::link::within;

/// Records that may be read ahead of their acknowledgement, which is only credit.
const PREFETCH: u16 = 1024;

/// What survives a lost connection.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) tag: MigrationTag,
    /// The first offset that was not read yet.
    pub(super) next: u64,
    pub(super) begin: Option<Begin>,
    /// This host's own ABORT, and why, until the journal says that it is decided.
    pub(super) abort: Option<String>,
    /// How long the controller was quiet while this process was awake.
    quiet: Duration,
    ticked_at: Instant,
    pub(super) next_tick: Instant,
    interval: Duration,
}

impl Journal {
    pub(super) fn new(tag: MigrationTag, interval: Duration) -> Self {
        let now = Instant::now();
        Self { tag, next: 0, begin: None, abort: None, quiet: Duration::ZERO, ticked_at: now, next_tick: now + interval, interval }
    }

    /// Takes note of a record on its way to the machine.
    pub(super) fn read(&mut self, record: &Record) {
        if let Record::Begin(begin) = record {
            self.begin.get_or_insert_with(|| begin.clone());
        }
        if is_controllers(record) {
            self.quiet = Duration::ZERO;
        }
    }

    /// The clock has ticked. Returns whether patience is over.
    pub(super) fn tick(&mut self, patience: Duration) -> bool {
        let now = Instant::now();
        // A frozen process has heard nothing because it could not listen.
        self.quiet += (now - self.ticked_at).min(self.interval * 5);
        self.ticked_at = now;
        self.next_tick = now + self.interval;
        let over = self.quiet >= patience;
        if over {
            self.quiet = Duration::ZERO;
        }
        over
    }
}

fn is_controllers(record: &Record) -> bool {
    use Record::{Abort, Begin, Brake, FailOver, HandOver, Mark, Park, Resume, Retire, TakeBack};
    matches!(record, Begin(_) | Mark { .. } | Park | Resume | Brake { .. } | HandOver | FailOver | Abort { .. } | TakeBack { .. } | Retire)
}

/// What lives on one connection.
#[derive(Debug)]
pub(super) struct JournalLink {
    pub(super) reader: Box<dyn Subscription>,
    writer: Writer,
    read_tag: Option<u64>,
    unacked: u16,
}

struct Writer {
    queue: String,
    publisher: Box<dyn Publisher>,
    confirms: VecDeque<(Instant, Confirm)>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("queue", &self.queue).field("unconfirmed", &self.confirms.len()).finish_non_exhaustive()
    }
}

impl JournalLink {
    pub(super) async fn open(connection: &dyn Connection, queue: &str, from_offset: u64) -> LinkResult<Self> {
        let queue = journal_name(queue);
        let options = ConsumeOptions { prefetch: PREFETCH, from_offset: Some(from_offset), tag: "ms2m-journal".to_owned() };
        let (reader, publisher) = tokio::try_join!(within(connection.consume(&queue, &options)), within(connection.publisher()))?;
        Ok(Self { reader, writer: Writer { queue, publisher, confirms: VecDeque::new() }, read_tag: None, unacked: 0 })
    }

    /// Writes without waiting for the confirm.
    pub(super) async fn append(&mut self, record: &Record, tag: MigrationTag) -> LinkResult<()> {
        let message = body_only(record.encode(tag)?);
        let confirm = within(self.writer.publisher.publish(&self.writer.queue, message)).await?;
        self.writer.confirms.push_back((Instant::now(), confirm));
        Ok(())
    }

    /// Notes a record as read; returns whether the broker should get credit for more.
    pub(super) fn read(&mut self, tag: u64) -> bool {
        self.read_tag = Some(tag);
        self.unacked += 1;
        self.unacked >= PREFETCH / 4
    }

    pub(super) async fn give_credit(&mut self) -> LinkResult<()> {
        self.unacked = 0;
        match self.read_tag.take() {
            Some(tag) => within(self.reader.ack_up_to(tag)).await,
            None => Ok(()),
        }
    }

    /// Waits until everything written is confirmed.
    pub(super) async fn confirmed(&mut self) -> LinkResult<()> {
        for (_, confirm) in std::mem::take(&mut self.writer.confirms) {
            confirm.await?;
        }
        Ok(())
    }

    /// Whether the oldest confirm is overdue.
    pub(super) fn is_stuck(&self) -> bool {
        self.writer.confirms.front().is_some_and(|(since, _)| since.elapsed() > OPERATION_DEADLINE)
    }

    /// The next record, or the first confirm that failed; cancel-safe.
    pub(super) async fn next(&mut self, wants_records: bool) -> Result<LinkResult<Delivery>, Unconfirmed> {
        let Self { reader, writer, .. } = self;
        tokio::select! {
            biased;
            error = std::future::poll_fn(|cx| writer.poll_failed(cx)) => Err(Unconfirmed(error)),
            delivery = reader.next(), if wants_records => Ok(delivery),
        }
    }
}

/// A record that was written is not in the journal, or may not be.
#[derive(Debug)]
pub(super) struct Unconfirmed(pub(super) LinkError);

impl Writer {
    /// Confirms come in order, so the first one that is open is the only one to look at.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<LinkError> {
        while let Some((_, confirm)) = self.confirms.front_mut() {
            match confirm.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(confirmed) => {
                    self.confirms.pop_front();
                    if let Err(error) = confirmed {
                        return Poll::Ready(error);
                    }
                }
            }
        }
        Poll::Pending
    }
}
