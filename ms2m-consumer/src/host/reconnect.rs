//! After a lost connection: another one, and the question who this process is now.

use std::time::Duration;

use ms2m_broker::LinkError;
use ms2m_broker::link::LinkResult;
use ms2m_broker::protocol::{Copy, Event, Record, control_name};
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use tokio::time::{Instant, sleep};

use super::Host;
use super::journal::{Journal, JournalLink};
use super::link::{Link, within};
use super::machine::Machine;
use super::wake::stopped;
use crate::handler::Handler;
use crate::outcome::Standing;

/// First pause of an outage.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// An outage so soon after the last one begins with a pause: what fails right after every connect must not spin.
const CALM: Duration = Duration::from_secs(1);

/// A time without a working connection. It ends when something works on it, not when it stands.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    pause: Duration,
    /// Whether the next attempt has to wait.
    tried: bool,
    last: LinkError,
}

impl Outage {
    fn new(error: LinkError, last_ended: Option<Instant>) -> Self {
        let tried = last_ended.is_some_and(|ended| ended.elapsed() < CALM);
        Self { since: Instant::now(), pause: PAUSE_FIRST, tried, last: error }
    }

    fn next_pause(&mut self, max: Duration) -> Duration {
        if !std::mem::replace(&mut self.tried, true) {
            return Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(max);
        // Consumers that lost the same broker should not come back in the same instant.
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}

impl<H: Handler> Host<H> {
    /// Gives the connection up, whatever was the matter with it.
    pub(super) async fn lose(&mut self, error: LinkError) {
        let Some(link) = self.link.take() else { return };
        tracing::warn!(%error, queue = self.setup.queue.name, "the connection to the broker is given up");
        self.events.push_back(Event::Disconnected);
        match &mut self.outage {
            Some(outage) => outage.last = error,
            None => self.outage = Some(Outage::new(error, self.outage_ended)),
        }
        self.standing.send_replace(Standing::Reconnecting);
        link.close().await;
    }

    /// Something has worked on the connection.
    pub(super) fn recovered(&mut self) {
        if self.outage.take().is_some() {
            self.outage_ended = Some(Instant::now());
        }
    }

    /// Opens the next connection, or waits before the next attempt.
    pub(super) async fn reconnect(&mut self) -> Result<()> {
        let limits = self.setup.limits;
        let outage = self.outage.get_or_insert_with(|| Outage::new(LinkError::Lost("no connection yet".into()), None));
        if outage.since.elapsed() > limits.reconnect_deadline {
            let waited_s = outage.since.elapsed().as_secs();
            let last = Error::from(outage.last.clone());
            let text = format!("the broker could not be used again for {waited_s} s: {last}");
            return Err(Error::new(last.kind(), Verdict::GaveUpRetrying, text).with("queue", &self.setup.queue.name));
        }
        let pause = outage.next_pause(limits.reconnect_pause_max);
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                () = stopped(&mut self.stop) => {
                    self.stop_by.get_or_insert_with(Instant::now);
                    return Ok(());
                }
            }
        }
        if let Err(error) = self.find_out_who_this_is()
            && error.verdict() != Verdict::Retry
        {
            return Err(error);
        }
        if let Err(error) = self.connect().await
            && let Some(outage) = &mut self.outage
        {
            tracing::debug!(%error, "no connection to the broker yet");
            outage.last = error;
        }
        Ok(())
    }

    /// Opens a connection, the inbox and, where one is read, the journal; only then the machine hears of it.
    pub(super) async fn connect(&mut self) -> LinkResult<()> {
        let connection = within(self.setup.broker.connect(&self.connection_name())).await?;
        let journal = async {
            let Some(journal) = &self.journal else { return Ok((None, false)) };
            match JournalLink::open(&*connection, &self.setup.queue.name, journal.next).await {
                Ok(open) => Ok((Some(open), false)),
                Err(LinkError::NotFound(_)) => Ok((None, true)),
                Err(error) => Err(error),
            }
        };
        // At the same time: everybody waits for a copy that wakes up.
        let control = control_name(&self.instance);
        let (inbox, (journal_link, gone)) = tokio::try_join!(within(connection.inbox(&control)), journal)?;
        self.link = Some(Link::new(connection, inbox, journal_link));
        if gone {
            self.events.push_back(Event::JournalGone);
        }
        self.events.push_back(Event::Connected);
        if let Some(reason) = self.journal.as_ref().and_then(|journal| journal.abort.clone()) {
            self.write(&Record::Abort { reason }).await;
        }
        Ok(())
    }

    pub(super) fn connection_name(&self) -> String {
        connection_name(&self.instance)
    }

    /// A process that was restored from a checkpoint finds its connection dead and another identity: then it is the copy.
    fn find_out_who_this_is(&mut self) -> Result<()> {
        let instance = self.setup.identity.read()?;
        if instance == self.instance {
            return Ok(());
        }
        let parked = match &self.machine {
            Machine::Source(source) if source.is_parked() => Some(source.image()),
            _ => None,
        };
        let Some((image, migration)) = parked.and_then(|image| image.migration.map(|migration| (image, migration))) else {
            let text = "this process has another identity than before and was not parked: it was restored from a checkpoint taken \
                        at no safe point, and must not consume";
            return Err(Error::fatal(ErrorKind::Invariant, text).with("before", &self.instance).with("now", &instance));
        };
        tracing::info!(source = %self.instance, copy = %instance, n = image.chain.n(), "thawed as a copy");
        self.instance = instance;
        let copy = Copy::new(self.setup.config.clone(), self.instance.clone(), self.connection_name(), image, migration);
        self.machine = Machine::Copy(Box::new(copy));
        self.journal = Some(Journal::new(migration, self.setup.limits.progress_interval));
        self.outbox.clear();
        self.work = None;
        self.brake = super::Brake::default();
        self.park_failed = None;
        Ok(())
    }
}

/// The connection's name: known to the machines, so that a fence can cut it off.
pub(super) fn connection_name(instance: &ms2m_core::InstanceId) -> String {
    format!("ms2m-{instance}")
}
