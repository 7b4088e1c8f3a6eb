//! Everything that can happen to a consumer from outside.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use ms2m_broker::LinkError;
use ms2m_broker::link::{Delivery, LinkResult};
use ms2m_broker::protocol::{Delivered, Event, Record};
use ms2m_core::Result;
use tokio::time::{Instant, sleep_until};

use super::Host;
use super::journal::{Journal, JournalLink, Unconfirmed};
use super::link::{is_alone, next_of, within};
use super::machine::Machine;
use crate::handler::Handler;

/// Journal records taken at once.
const RECORDS_AT_ONCE: usize = 64;

/// Other things taken at once: more than there are kinds of them.
const OTHERS_AT_ONCE: usize = 16;

/// What has woken the host.
pub(super) enum Wake {
    Delivery(LinkResult<Delivery>),
    Record(LinkResult<Delivery>),
    Invitation(LinkResult<Delivery>),
    /// A confirm of the journal has failed.
    Unconfirmed(LinkError),
    Lost(LinkError),
    Free,
    Emitted(Result<()>),
    Tick,
    BrakeOver,
    Stop,
}

impl<H: Handler> Host<H> {
    /// Waits for the next thing to happen.
    pub(super) async fn wait(&mut self) -> Wake {
        let wants_records = self.machine.wants_records();
        let braked_until = if self.work.is_some() { self.brake.blocks_until() } else { None };
        let next_tick = self.journal.as_ref().map(|journal| journal.next_tick);
        let stop_by = self.stop_by;
        let Some(link) = &mut self.link else { return Wake::BrakeOver };
        let (stop, outbox) = (&mut self.stop, &mut self.outbox);
        tokio::select! {
            biased;
            error = link.lost.as_mut() => Wake::Lost(error),
            delivery = next_of(&mut link.queue) => Wake::Delivery(delivery),
            next = journal_next(&mut link.journal, wants_records) => match next {
                Ok(delivery) => Wake::Record(delivery),
                Err(Unconfirmed(error)) => Wake::Unconfirmed(error),
            },
            answer = outbox.answer() => Wake::Emitted(answer),
            () = maybe(&mut link.free) => Wake::Free,
            delivery = link.inbox.next() => Wake::Invitation(delivery),
            () = at(next_tick) => Wake::Tick,
            () = at(braked_until) => Wake::BrakeOver,
            () = at(stop_by) => Wake::BrakeOver,
            () = stopped(stop), if stop_by.is_none() => Wake::Stop,
        }
    }

    /// Takes everything that is here already, without waiting.
    pub(super) async fn pull(&mut self) {
        self.burst = 0;
        while let Some(delivery) = self.link.as_mut().and_then(|link| link.queue.as_mut()).and_then(|queue| queue.try_next()) {
            match delivery {
                Ok(delivery) => self.delivered(delivery),
                Err(error) => return self.lose(error).await,
            }
        }
        self.pull_journal().await;
        // A consumer that always has work must hear of everything else as well.
        for _ in 0..OTHERS_AT_ONCE {
            match at_once(self.wait()).await {
                Some(wake) => self.take(wake).await,
                None => break,
            }
        }
    }

    async fn pull_journal(&mut self) {
        if self.journal.is_none() {
            return;
        }
        for _ in 0..RECORDS_AT_ONCE {
            let journal_link = self.link.as_mut().and_then(|link| link.journal.as_mut());
            match journal_link.filter(|_| self.machine.wants_records()).and_then(|journal_link| journal_link.reader.try_next()) {
                Some(delivery) => self.take(Wake::Record(delivery)).await,
                None => break,
            }
        }
    }

    pub(super) async fn take(&mut self, wake: Wake) {
        match wake {
            Wake::Delivery(Ok(delivery)) => self.delivered(delivery),
            Wake::Record(Ok(delivery)) => self.read(delivery).await,
            Wake::Invitation(Ok(delivery)) => {
                self.invited(&delivery).await;
                if let Some(link) = &mut self.link
                    && let Err(error) = within(link.inbox.ack_up_to(delivery.tag)).await
                {
                    self.lose(error).await;
                }
            }
            Wake::Record(Err(LinkError::NotFound(_))) | Wake::Unconfirmed(LinkError::NotFound(_)) => self.journal_is_gone(),
            Wake::Delivery(Err(error)) | Wake::Record(Err(error)) | Wake::Invitation(Err(error)) => self.lose(error).await,
            Wake::Unconfirmed(error) | Wake::Lost(error) => self.lose(error).await,
            Wake::Free => {
                if let Some(link) = &mut self.link {
                    link.free = None;
                }
                self.events.push_back(Event::NoConsumers);
            }
            Wake::Emitted(Ok(())) => {
                if let Some(n) = self.outbox.emitted() {
                    self.events.push_back(Event::Flushed { n });
                }
            }
            Wake::Emitted(Err(error)) => {
                self.failed.get_or_insert(error.with("queue", &self.setup.queue.name));
            }
            Wake::Tick => self.tick().await,
            Wake::BrakeOver => {}
            Wake::Stop => self.stop_by = Some(Instant::now() + self.setup.limits.stop_deadline),
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        let Delivery { tag, offset, redelivered, message } = delivery;
        self.events.push_back(Event::Delivered(Delivered { tag, offset, redelivered, message }));
    }

    async fn tick(&mut self) {
        let patience = self.setup.limits.patience;
        let Some(journal) = &mut self.journal else { return };
        if journal.tick(patience) {
            self.events.push_back(Event::PatienceOver);
        }
        self.events.push_back(Event::ProgressDue);
        if self.link.as_ref().and_then(|link| link.journal.as_ref()).is_some_and(JournalLink::is_stuck) {
            self.lose(LinkError::Unavailable("the journal's confirms do not come".into())).await;
        }
    }

    /// The journal's next record, on its way to the machine.
    async fn read(&mut self, delivery: Delivery) {
        let at_us = self.setup.clock.now().as_micros();
        let Some(journal) = &mut self.journal else { return };
        let Some(offset) = delivery.offset else {
            return self.lose(LinkError::Corrupt("the journal is no stream".into())).await;
        };
        journal.next = offset + 1;
        match Record::decode(&delivery.message.body, journal.tag) {
            Ok(Some(record)) => {
                journal.read(&record);
                if matches!(record, Record::Abort { .. } | Record::Taken { .. } | Record::Fence { .. }) {
                    journal.abort = None;
                }
                self.events.push_back(Event::Record { record, at_us });
            }
            Ok(None) => {}
            Err(error) => self.unreadable(&error).await,
        }
        self.recovered();
        let journal_link = self.link.as_mut().and_then(|link| link.journal.as_mut());
        if let Some(journal_link) = journal_link
            && journal_link.read(delivery.tag)
            && let Err(error) = journal_link.give_credit().await
        {
            self.lose(error).await;
        }
    }

    /// Somebody writes what this program does not understand. It could be the verdict, so nobody here may go on with it.
    async fn unreadable(&mut self, error: &LinkError) {
        tracing::error!(%error, "an unreadable record in the journal");
        let reason = format!("{} cannot read the journal: {error}", self.instance);
        match &self.machine {
            Machine::Source(_) => {
                if let Some(journal) = &mut self.journal
                    && journal.abort.is_none()
                {
                    journal.abort = Some(reason.clone());
                    self.write(&Record::Abort { reason }).await;
                }
            }
            Machine::Copy(_) => self.refuse(reason).await,
        }
    }

    /// A controller asks this consumer to take part in a migration.
    async fn invited(&mut self, delivery: &Delivery) {
        let (tag, begin) = match Record::decode_any(&delivery.message.body) {
            Ok((tag, Record::Begin(begin))) => (tag, begin),
            Ok(_) => return tracing::warn!("what came as an invitation is another record"),
            Err(error) => return tracing::warn!(%error, "an unreadable invitation"),
        };
        let queue = &self.setup.queue.name;
        if begin.queue != *queue {
            return tracing::warn!(invited = begin.queue, consumes = queue, "an invitation for another queue");
        }
        let Machine::Source(source) = &mut self.machine else { return };
        // The controller repeats its invitation until it reads JOINED.
        if source.is_migrating() {
            return;
        }
        let Some(link) = &mut self.link else { return };
        // One that comes back to its queue may be invited before it is there again; one that another consumer keeps away has nothing to hand over.
        if source.is_waiting() && !is_alone(&*link.connection, queue).await {
            return tracing::warn!(queue, "invited to a migration while another consumer is on the queue");
        }
        match JournalLink::open(&*link.connection, queue, 0).await {
            Ok(journal_link) => {
                link.journal = Some(journal_link);
                self.journal = Some(Journal::new(tag, self.setup.limits.progress_interval));
                source.invited(tag);
            }
            Err(LinkError::NotFound(name)) => tracing::warn!(name, "invited to a journal that does not exist"),
            Err(error) => self.lose(error).await,
        }
    }
}

/// A future's output if it is there already; what is not ready is dropped, so it must be cancel-safe.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn journal_next(journal: &mut Option<JournalLink>, wants_records: bool) -> Result<LinkResult<Delivery>, Unconfirmed> {
    match journal {
        Some(journal) => journal.next(wants_records).await,
        None => std::future::pending().await,
    }
}

async fn maybe(future: &mut Option<impl Future<Output = ()> + Unpin>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Without anybody left who could ask for it, a stop never comes.
pub(super) async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
