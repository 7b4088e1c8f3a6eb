//! Beginning to consume: never with an empty state beside a migration.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::link::LinkResult;
use ms2m_broker::protocol::{Copy, Source, journal_name};
use ms2m_broker::{Connection, LinkError};
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::acks::Acks;
use super::brake::Brake;
use super::journal::Journal;
use super::link::within;
use super::machine::Machine;
use super::outbox::Outbox;
use super::reconnect::connection_name;
use super::wake::stopped;
use super::{Host, Setup};
use crate::effect::EffectSink;
use crate::handler::Handler;
use crate::outcome::Standing;
use crate::snapshot::Snapshot;
use crate::snapshot_sink::SnapshotSink;

/// Pause between two looks at the broker.
const PAUSE: Duration = Duration::from_millis(200);

impl<H: Handler> Host<H> {
    /// A consumer that is about to start: a fresh one, or a copy with the state of a snapshot.
    pub(crate) fn new(
        setup: Setup,
        handler: H,
        restored: Option<Snapshot>,
        sink: Box<dyn EffectSink>,
        snapshots: Option<Box<dyn SnapshotSink>>,
        stop: watch::Receiver<bool>,
        standing: Arc<watch::Sender<Standing>>,
    ) -> Result<Self> {
        let instance = setup.identity.read()?;
        let (config, connection) = (setup.config.clone(), connection_name(&instance));
        let migration = restored.as_ref().and_then(Snapshot::migration);
        let (machine, n) = match (restored, migration) {
            (Some(snapshot), Some(migration)) => {
                let n = snapshot.image.chain.n();
                (Machine::Copy(Box::new(Copy::new(config, instance.clone(), connection, snapshot.image, migration))), n)
            }
            (Some(_), None) => return Err(Error::undo(ErrorKind::Invalid, "the snapshot was not taken for a migration")),
            (None, _) => (Machine::Source(Box::new(Source::new(config, instance.clone(), connection))), 0),
        };
        let outbox = Outbox::new(setup.queue.name.clone(), sink, &setup.limits);
        Ok(Self {
            handler,
            instance,
            machine,
            link: None,
            journal: migration.map(|tag| Journal::new(tag, setup.limits.progress_interval)),
            outbox,
            acks: Acks::new(setup.config.window),
            brake: Brake::default(),
            work: None,
            events: VecDeque::new(),
            actions: Vec::new(),
            snapshots,
            park_failed: None,
            outage: None,
            outage_ended: None,
            exit: None,
            failed: None,
            stop,
            stop_by: None,
            standing,
            applied_n: n,
            flushed_n: n,
            burst: 0,
            burst_began_us: 0,
            setup,
        })
    }

    /// Connects for the first time. `false`: it was stopped before.
    pub(super) async fn start(&mut self) -> Result<bool> {
        let deadline = Instant::now() + self.setup.limits.start_deadline;
        let guarded = self.journal.is_none();
        loop {
            let waits_for = match self.try_start(guarded).await {
                Ok(None) => return Ok(true),
                Ok(Some(journal)) => Error::fatal(
                    ErrorKind::AlreadyExists,
                    format!(
                        "a migration of this queue is under way or was left undecided: its journal {journal:?} exists, and a fresh \
                         consumer would start from an empty state; finish or abort the migration, or delete the journal when no \
                         other consumer of this queue lives"
                    ),
                ),
                Err(error) => {
                    let error = Error::from(error);
                    let refused_for_good = matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound);
                    if refused_for_good {
                        return Err(error.with("queue", &self.setup.queue.name));
                    }
                    error
                }
            };
            if Instant::now() >= deadline {
                let queue = &self.setup.queue.name;
                return Err(waits_for.judged(Verdict::GaveUpRetrying).with("queue", queue).with("instance", &self.instance));
            }
            tracing::info!(%waits_for, "not started yet");
            if self.paused_by_stop().await {
                return Ok(false);
            }
        }
    }

    async fn paused_by_stop(&mut self) -> bool {
        tokio::select! {
            () = sleep(PAUSE) => false,
            () = stopped(&mut self.stop) => true,
        }
    }

    /// Says the journal that stands in the way, if one does.
    async fn try_start(&mut self, guarded: bool) -> LinkResult<Option<String>> {
        if self.link.is_none() {
            self.events.clear();
            self.connect().await?;
        }
        let Some(link) = &self.link else { return Err(LinkError::Lost("no connection yet".into())) };
        let connection = Arc::clone(&link.connection);
        match look_around(&*connection, &self.setup.queue.name, guarded).await {
            Err(error) => {
                // Begun anew with another connection.
                if let Some(link) = self.link.take() {
                    link.close().await;
                }
                Err(error)
            }
            found => found,
        }
    }
}

/// Whether the queue is there, and whether a journal stands in the way of a consumer that has to be `guarded`.
async fn look_around(connection: &dyn Connection, queue: &str, guarded: bool) -> LinkResult<Option<String>> {
    let journal = journal_name(queue);
    if guarded && within(connection.queue_status(&journal)).await?.is_some() {
        return Ok(Some(journal));
    }
    // A queue that does not exist is said now, and not after ten minutes of trying.
    match within(connection.queue_status(queue)).await? {
        Some(_) => Ok(None),
        None => Err(LinkError::NotFound(queue.to_owned())),
    }
}
