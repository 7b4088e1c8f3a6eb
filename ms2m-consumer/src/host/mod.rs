//! The host of a machine: one task that performs its actions in their order and feeds it what happens.

mod acks;
mod apply;
mod brake;
mod journal;
mod link;
mod machine;
mod outbox;
mod perform;
mod reconnect;
mod start;
mod wake;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use ms2m_broker::Broker;
use ms2m_broker::protocol::{Action, ConsumerConfig, Event, Exit};
use ms2m_core::{Clock, Error, ErrorKind, InstanceId, Result};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::handler::Handler;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::outcome::{Outcome, Standing};
use crate::queue::QueueSpec;
use crate::snapshot_sink::SnapshotSink;
use acks::Acks;
use apply::Work;
use brake::Brake;
use journal::Journal;
use link::Link;
use machine::Machine;
use outbox::Outbox;
use reconnect::Outage;

/// Messages applied before everything else gets its turn.
const BURST_MESSAGES: u32 = 32;
/// The same in time, in microseconds.
const BURST_US: u64 = 500;

/// What does not change while a consumer runs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) queue: QueueSpec,
    pub(crate) config: ConsumerConfig,
    pub(crate) identity: Identity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

/// One consumer that runs.
pub(crate) struct Host<H> {
    setup: Setup,
    handler: H,
    instance: InstanceId,
    machine: Machine,
    link: Option<Link>,
    journal: Option<Journal>,
    outbox: Outbox,
    acks: Acks,
    brake: Brake,
    work: Option<Work>,
    events: VecDeque<Event>,
    actions: Vec<Action>,
    snapshots: Option<Box<dyn SnapshotSink>>,
    /// The snapshot of this parking could not be written: why.
    park_failed: Option<String>,
    outage: Option<Outage>,
    outage_ended: Option<Instant>,
    exit: Option<Exit>,
    failed: Option<Error>,
    stop: watch::Receiver<bool>,
    stop_by: Option<Instant>,
    standing: Arc<watch::Sender<Standing>>,
    /// Last message applied as the queue's owner, and the last one whose effects are known to be out.
    applied_n: u64,
    flushed_n: u64,
    burst: u32,
    burst_began_us: u64,
}

impl<H> fmt::Debug for Host<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("instance", &self.instance).field("queue", &self.setup.queue.name).finish_non_exhaustive()
    }
}

impl<H: Handler> Host<H> {
    /// Runs until it is over.
    pub(crate) async fn run(mut self) -> Result<Outcome> {
        let outcome = self.work_on().await;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        self.standing.send_replace(Standing::Ended);
        outcome
    }

    async fn work_on(&mut self) -> Result<Outcome> {
        if !self.start().await? {
            return Ok(Outcome::Stopped);
        }
        loop {
            self.settle().await;
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Some(exit) = self.exit.take() {
                return self.outcome(exit);
            }
            if self.stop_by.is_some_and(|stop_by| self.is_at_rest() || stop_by <= Instant::now()) {
                return self.finish_stop().await;
            }
            if self.work.is_some() && self.may_apply() {
                self.apply_next().await?;
                if self.burst_is_over() {
                    self.pull().await;
                    tokio::task::yield_now().await;
                }
                continue;
            }
            if self.link.is_none() {
                self.reconnect().await?;
                continue;
            }
            self.flush_acks().await;
            self.pull().await;
            if self.is_idle() {
                self.tell_standing();
                let wake = self.wait().await;
                self.take(wake).await;
                self.pull().await;
            }
        }
    }

    /// Feeds all events to the machine and performs what it asks for.
    async fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.note(&event);
            let mut actions = std::mem::take(&mut self.actions);
            self.machine.step(event, &mut actions);
            for action in actions.drain(..) {
                if let Some(action) = self.perform_at_once(action) {
                    self.perform(action).await;
                }
            }
            self.actions = actions;
            if self.acks.are_due() {
                self.flush_acks().await;
            }
        }
    }

    fn note(&mut self, event: &Event) {
        if let Event::Flushed { n } = event {
            self.flushed_n = self.flushed_n.max(*n);
        }
    }

    /// Nothing is applied whose effects and acknowledgement are not on their way.
    fn is_at_rest(&self) -> bool {
        let serves = self.machine.standing() != Standing::Replaying;
        self.link.is_none() || !serves || self.flushed_n >= self.applied_n
    }

    /// Nothing is to be done before something happens.
    fn is_idle(&self) -> bool {
        let ends = self.failed.is_some() || self.exit.is_some() || (self.stop_by.is_some() && self.is_at_rest());
        self.events.is_empty() && self.link.is_some() && !ends
    }

    fn may_apply(&mut self) -> bool {
        self.stop_by.is_none() && self.brake.blocks_until().is_none()
    }

    fn burst_is_over(&mut self) -> bool {
        self.burst >= BURST_MESSAGES
    }

    fn tell_standing(&self) {
        let standing = self.machine.standing();
        self.standing.send_if_modified(|told| std::mem::replace(told, standing) != standing);
    }

    /// A stop in good order: what was applied is acknowledged, the rest returns to the queue.
    async fn finish_stop(&mut self) -> Result<Outcome> {
        self.flush_acks().await;
        let subscription = self.link.as_mut().and_then(|link| link.queue.take());
        if let Some(subscription) = subscription {
            let _ = timeout(ms2m_broker::link::OPERATION_DEADLINE, subscription.close()).await;
        }
        Ok(Outcome::Stopped)
    }

    fn outcome(&self, exit: Exit) -> Result<Outcome> {
        match exit {
            Exit::Moved => Ok(Outcome::Moved),
            Exit::Discarded(reason) => Ok(Outcome::Discarded(reason)),
            Exit::Orphaned => Err(Error::fatal(
                ErrorKind::Invariant,
                "the migration's journal was removed while it was undecided whether this consumer still owns the queue; \
                 look for a copy that owns it before starting a consumer",
            )
            .with("queue", &self.setup.queue.name)
            .with("instance", &self.instance)),
        }
    }
}
