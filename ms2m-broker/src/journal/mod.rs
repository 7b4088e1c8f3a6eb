//! [`ReplayBroker`] over any [`Broker`]: the controller's machine with a connection, a journal reader and deadlines.

mod brake;
mod options;
mod preflight;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{
    Begun, CutOver, Error, ErrorKind, HandOverJob, MigrationId, Ownership, Parked, ReplayBroker, ReplayJob, ReplayProgress, ReplayStanding,
    Result, Retired, Timestamp,
};
use tokio::sync::Mutex;

pub use options::JournalOptions;
use session::Session;

use crate::link::Broker;
use crate::protocol::{Answer, Begin, Call, JournalView, Owner, Refusal};

/// Hands one queue over. Make one per migration; after a crash make it again with the same queue, and call on.
pub struct JournalBroker {
    broker: Arc<dyn Broker>,
    queue: String,
    options: JournalOptions,
    session: Mutex<Option<Session>>,
}

impl fmt::Debug for JournalBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalBroker").field("broker", &self.broker.name()).field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl JournalBroker {
    /// For a queue on a broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, queue: impl Into<String>, options: JournalOptions) -> Self {
        Self { broker, queue: queue.into(), options, session: Mutex::new(None) }
    }

    async fn call(&self, migration: &MigrationId, call: Call, limit: Duration) -> Result<(Answer, JournalView)> {
        let mut slot = self.session.lock().await;
        let mut session = self.take(&mut slot, migration).await?;
        let answer = session.call(call, limit).await?;
        let view = session.view().clone();
        *slot = Some(session);
        Ok((answer, view))
    }

    /// Whoever takes the session puts it back when all went well. After an error, and when the caller gives up in the middle
    /// (a record may have been read and not understood), the next call starts from the journal itself.
    async fn take(&self, slot: &mut Option<Session>, migration: &MigrationId) -> Result<Session> {
        match slot.take() {
            Some(session) if session.migration() == migration => Ok(session),
            _ => Session::open(Arc::clone(&self.broker), &self.queue, migration, &self.options).await,
        }
    }

    fn refused(&self, refusal: Refusal, call: &'static str) -> Error {
        let (kind, text) = match refusal {
            Refusal::AlreadyMigrating(other) => {
                let text = format!("the queue is migrating already (migration {other}); wait for it, or cancel it first");
                return Error::fatal(ErrorKind::AlreadyExists, text).with("queue", &self.queue);
            }
            Refusal::NotDeterministic(determinism) => {
                let text = format!("the consumer says that its handler is {determinism:?}: use mode hold or auto instead of chase");
                return Error::fatal(ErrorKind::Unsupported, text).with("queue", &self.queue);
            }
            Refusal::Aborted(reason) => (ErrorKind::Other, format!("the migration is aborted: {reason}")),
            Refusal::CopyOwns => (ErrorKind::Invariant, "the copy owns the queue already".to_owned()),
            Refusal::Timeout(waited_for) => (ErrorKind::Timeout, format!("waited in vain for {waited_for}")),
            Refusal::OutOfOrder(what) => (ErrorKind::Invariant, format!("calls out of order: {what}")),
        };
        Error::undo(kind, text).with("call", call).with("queue", &self.queue)
    }

    fn unexpected(&self, answer: Answer, call: &'static str) -> Error {
        match answer {
            Answer::Refused(refusal) => self.refused(refusal, call),
            Answer::SourceOwns { reason } => Error::undo(ErrorKind::Other, reason),
            other => Error::undo(ErrorKind::Invariant, format!("unexpected answer to {call}: {other:?}")),
        }
    }

    fn ownership(&self, answer: Answer, view: &JournalView, call: &'static str) -> Result<Ownership> {
        match answer {
            Answer::CopyOwns => Ok(Ownership::Copy(cut_over(view))),
            Answer::SourceOwns { reason } => Ok(Ownership::Source { reason }),
            other => Err(self.unexpected(other, call)),
        }
    }
}

#[async_trait]
impl ReplayBroker for JournalBroker {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    async fn begin(&self, job: &ReplayJob) -> Result<Begun> {
        if job.queue != self.queue {
            return Err(Error::fatal(ErrorKind::Invalid, "this broker backend was made for another queue").with("queue", &job.queue));
        }
        let mut slot = self.session.lock().await;
        *slot = None;
        let mut session = Session::begin(Arc::clone(&self.broker), &self.queue, &job.migration, &self.options).await?;
        let begin = Begin {
            migration: job.migration.clone(),
            queue: job.queue.clone(),
            source: job.source.clone(),
            copy: job.copy.clone(),
            mode: job.mode,
            record_bytes_max: self.options.record_bytes_max,
        };
        let answer = session.call(Call::Begin(begin), self.options.begin_deadline).await?;
        *slot = Some(session);
        match answer {
            Answer::Begun { protocol, mode, n } => Ok(Begun { protocol, mode, applied: n }),
            other => Err(self.unexpected(other, "begin")),
        }
    }

    async fn park(&self, migration: &MigrationId) -> Result<Parked> {
        match self.call(migration, Call::Park, self.options.park_deadline).await? {
            (Answer::Parked { n, digest }, _) => Ok(Parked { n, digest }),
            (other, _) => Err(self.unexpected(other, "park")),
        }
    }

    async fn resume(&self, migration: &MigrationId) -> Result<()> {
        match self.call(migration, Call::Resume, self.options.call_deadline).await? {
            (Answer::Resumed, _) => Ok(()),
            (other, _) => Err(self.unexpected(other, "resume")),
        }
    }

    async fn progress(&self, migration: &MigrationId) -> Result<ReplayProgress> {
        let mut slot = self.session.lock().await;
        let mut session = self.take(&mut slot, migration).await?;
        session.keep_contact().await;
        session.catch_up().await?;
        let view = session.view();
        let standing = match (view.owner(), &view.aborted, &view.rejected) {
            (Owner::Copy, ..) => ReplayStanding::CopyOwns,
            (_, Some(reason), _) => ReplayStanding::Aborted(reason.clone()),
            (_, _, Some(reason)) => ReplayStanding::Rejected(reason.clone()),
            _ if view.ready => ReplayStanding::Ready,
            _ if view.copy_connection.is_none() => ReplayStanding::AwaitingCopy,
            _ => ReplayStanding::Replaying,
        };
        let progress = ReplayProgress { source_n: view.source_n, copy_n: view.copy_n, standing };
        session.brake(&progress).await;
        *slot = Some(session);
        Ok(progress)
    }

    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership> {
        let call = Call::HandOver { source_gone: job.source_gone };
        let (answer, view) = self.call(&job.migration, call, job.deadline).await?;
        self.ownership(answer, &view, "hand_over")
    }

    async fn abort(&self, migration: &MigrationId, reason: &str) -> Result<Ownership> {
        let call = Call::Abort { reason: reason.into() };
        match self.call(migration, call, self.options.call_deadline).await {
            Ok((answer, view)) => self.ownership(answer, &view, "abort"),
            // Without a journal nothing was ever asked of the source.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ownership::Source { reason: reason.into() }),
            Err(error) => Err(error),
        }
    }

    async fn retire(&self, migration: &MigrationId, source_gone: bool) -> Result<Retired> {
        let call = Call::Retire { source_gone };
        let (answer, view) = match self.call(migration, call, self.options.retire_deadline).await {
            Ok(answered) => answered,
            // It was removed by an earlier call.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Retired::default()),
            Err(error) => return Err(error),
        };
        match answer {
            Answer::Retired => {
                let mut slot = self.session.lock().await;
                if let Some(session) = slot.take() {
                    session.remove_journal().await?;
                }
                Ok(retired(&view))
            }
            other => Err(self.unexpected(other, "retire")),
        }
    }
}

/// The figures of the cut-over, as far as they are known.
fn cut_over(view: &JournalView) -> CutOver {
    let last_us = view.end.as_ref().map_or(0, |end| end.last_applied_at_us);
    let at = |us: u64| (us > 0).then(|| Timestamp::from_micros(us));
    let cutover_gap = match (view.first_applied, at(last_us)) {
        // Nobody waits for a message that does not exist yet.
        (Some((first_us, available_us)), Some(_)) => {
            Some(Timestamp::from_micros(first_us).since(Timestamp::from_micros(last_us.max(available_us))))
        }
        _ => None,
    };
    CutOver {
        n: view.end.as_ref().map(|end| end.n).or(view.fence).unwrap_or(view.source_n),
        digest_source: view
            .end
            .as_ref()
            .map(|end| end.digest)
            .or(view.source_digest.filter(|_| view.fence.is_some() && view.taken.is_some())),
        digest_copy: view.taken,
        source_last_applied: at(last_us),
        copy_first_applied: view.first_applied.and_then(|(first_us, _)| at(first_us)),
        cutover_gap,
    }
}

fn retired(view: &JournalView) -> Retired {
    let copy_owns = view.owner() == Owner::Copy;
    let cut = cut_over(view);
    let replayed_to = if copy_owns { cut.n } else { view.copy_n };
    Retired {
        applied_by_source: view.source_n,
        journaled: view.journaled,
        replayed: if view.copy_connection.is_some() { replayed_to.saturating_sub(view.checkpoint_n) } else { 0 },
        applied_by_target: if copy_owns { view.copy_n.saturating_sub(cut.n) } else { 0 },
        cut_over: copy_owns.then_some(cut),
    }
}
