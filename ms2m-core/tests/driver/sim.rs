//! One small world that is source, transfer, target and broker at once, in virtual time. Every call has an await before and
//! one after its effect, so a driver that is dropped leaves it undone, or done without an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use ms2m_core::engine::{Course, MigrationSpec, MigrationState, Step};
use ms2m_core::{
    Begun, ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, CopyStatus, CutOver, Digest, Driver, Drivers,
    Error, ErrorKind, HandOverJob, HandoverChoice, HandoverMode, InstanceId, MemoryStore, MigrationId, MigrationReport, MonotonicClock,
    Outcome, Ownership, Parked, Part, Phase, PreDump, Protocol, Receipt, ReplayBroker, ReplayJob, ReplayProgress, ReplayStanding,
    RestoreJob, RestoreTarget, Restored, Result, Retired, SourceStatus, StateStore, Timestamp, TransferBackend, TransferCapability,
    TransferJob,
};

/// What a call does for once instead of succeeding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// Nothing happens, with an error that asks for a retry.
    Retry,
    /// Nothing happens, with an error that does not.
    Fatal,
    /// Nothing happens, and there is no answer.
    Hang,
    /// It happens, and there is no answer.
    HangAfter,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Undecided,
    Source,
    Copy,
}

/// A store that takes longer than a call, so that a driver dies before and after it has kept what is done meanwhile.
#[derive(Debug)]
struct Slow(Arc<MemoryStore>);

#[async_trait]
impl StateStore for Slow {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.0.save(state).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        self.0.load(migration).await
    }

    async fn remove(&self, migration: &MigrationId) -> Result<()> {
        self.0.remove(migration).await
    }
}

/// What is really the case.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) owner: Owner,
    pub(crate) source_lives: bool,
    pub(crate) parked: bool,
    pub(crate) journal: bool,
    pub(crate) copy_lives: bool,
    pub(crate) promoted: bool,
    pub(crate) checkpoint: bool,
    /// Bytes of each part at the target.
    pub(crate) arrived: BTreeMap<Part, u64>,
    pub(crate) staged: BTreeSet<Part>,
    /// On what the final part builds.
    pub(crate) parent: Option<u32>,
    pub(crate) restored_from: Vec<Part>,
    pub(crate) lag: u64,
    /// The phase on record when the hand-over was asked for.
    pub(crate) handed_over_from: Option<Phase>,
    pub(crate) calls: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Sim {
    pub(crate) capability: CheckpointCapability,
    pub(crate) store: Arc<MemoryStore>,
    truth: Mutex<Truth>,
    troubles: Mutex<BTreeMap<Step, VecDeque<Trouble>>>,
    /// Trouble of a step at every call.
    always: Mutex<BTreeMap<Step, Trouble>>,
    /// What the copy says once it has caught up, instead of READY.
    verdict: Option<ReplayStanding>,
    /// What the journal says as long as there is no copy.
    pub(crate) standing: Mutex<Option<ReplayStanding>>,
    /// Messages the copy catches up per look.
    replayed_per_look: u64,
}

pub(crate) const ARCHIVE: &[u8] = b"the state of the source";

impl Sim {
    pub(crate) fn new() -> Self {
        Self::replaying(10, None)
    }

    /// With the copy's speed in messages per look, and what it says at the end instead of READY.
    pub(crate) fn replaying(replayed_per_look: u64, verdict: Option<ReplayStanding>) -> Self {
        Self {
            capability: CheckpointCapability { pre_dump: true, leave_running: true, ..CheckpointCapability::default() },
            store: Arc::new(MemoryStore::default()),
            truth: Mutex::new(Truth {
                owner: Owner::Undecided,
                source_lives: true,
                parked: false,
                journal: false,
                copy_lives: false,
                promoted: false,
                checkpoint: false,
                arrived: BTreeMap::new(),
                staged: BTreeSet::new(),
                parent: None,
                restored_from: Vec::new(),
                lag: 20,
                handed_over_from: None,
                calls: Vec::new(),
            }),
            troubles: Mutex::default(),
            always: Mutex::default(),
            verdict,
            standing: Mutex::default(),
            replayed_per_look,
        }
    }

    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    pub(crate) fn trouble(&self, step: Step, troubles: &[Trouble]) {
        self.troubles.lock().unwrap().entry(step).or_default().extend(troubles);
    }

    pub(crate) fn always(&self, step: Step, trouble: Trouble) {
        self.always.lock().unwrap().insert(step, trouble);
    }

    pub(crate) fn heal(&self, step: Step) {
        self.always.lock().unwrap().remove(&step);
    }

    pub(crate) fn asked(&self, step: Step) -> usize {
        self.truth().calls.iter().filter(|call| **call == step).count()
    }

    pub(crate) fn drivers(self: &Arc<Self>) -> Drivers {
        Drivers { source: self.clone(), transfer: self.clone(), target: self.clone(), broker: self.clone() }
    }

    pub(crate) fn driver(self: &Arc<Self>) -> Driver {
        Driver::new(self.drivers(), Arc::new(Slow(self.store.clone()))).with_clock(Arc::new(clock()))
    }

    pub(crate) async fn stored(&self) -> Option<MigrationState> {
        self.store.load(&spec().migration).await.unwrap()
    }

    /// What the store holds is what a driver would go on from: nothing may be done that it does not know of.
    async fn call<T>(&self, step: Step, happen: impl FnOnce(&mut Truth) -> Result<T>) -> Result<T> {
        if !step.is_poll() {
            let stored = self.stored().await.expect("something is done before anything is stored");
            // These may begin while it is stored that the one before is done.
            let before: &[Step] = match step {
                Step::Checkpoint => &[Step::Park],
                Step::Send(Part::Final) | Step::Resume => &[Step::Checkpoint],
                Step::Restore => &[Step::Send(Part::Final), Step::AwaitReady],
                _ => &[],
            };
            let asked = |step: Step| stored.outstanding().iter().any(|call| call.step == step);
            // What follows the commit point may be done again, and so may what has been left behind be removed; of the hand-over the journal knows.
            let known = *stored.course() == Course::Committed
                || !stored.removable().is_empty()
                || (step == Step::HandOver && stored.phase() >= Phase::Restoring)
                || asked(step)
                || before.iter().copied().any(asked);
            assert!(known, "{step} is done, but not stored: {stored:#?}");
            if step == Step::HandOver {
                self.truth().handed_over_from.get_or_insert(stored.phase());
            }
        }
        self.truth().calls.push(step);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let next = self.troubles.lock().unwrap().get_mut(&step).and_then(VecDeque::pop_front);
        let trouble = next.or_else(|| self.always.lock().unwrap().get(&step).copied());
        match trouble {
            Some(Trouble::Retry) => return Err(Error::retry(ErrorKind::Unavailable, "come again")),
            Some(Trouble::Fatal) => return Err(Error::fatal(ErrorKind::Unsupported, "not here")),
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::HangAfter) | None => {}
        }
        let answer = happen(&mut self.truth());
        if trouble == Some(Trouble::HangAfter) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        answer
    }

    /// What must be true after a report.
    pub(crate) fn check(&self, report: &MigrationReport) {
        let truth = self.truth();
        match report.outcome {
            Outcome::Completed => {
                assert_eq!(truth.owner, Owner::Copy, "{report:#?}");
                assert!(!truth.source_lives && truth.copy_lives && truth.promoted, "{truth:#?}");
                assert_eq!(report.reason, None);
            }
            Outcome::RolledBack | Outcome::Cancelled | Outcome::Failed => {
                assert_ne!(truth.owner, Owner::Copy, "{report:#?}");
                assert!(!truth.copy_lives && !truth.promoted, "{truth:#?}");
                assert!(!truth.parked || !truth.source_lives, "the source was left parked");
                assert!(report.reason.is_some());
            }
        }
        assert!(!truth.journal, "the journal was left");
        let kept = report.reason.as_ref().is_some_and(|reason| reason.contains("left behind"));
        assert!(kept || (!truth.checkpoint && truth.arrived.is_empty()), "something was left: {truth:#?}");
    }
}

pub(crate) fn clock() -> MonotonicClock {
    MonotonicClock::from_epoch(Timestamp::from_micros(1_000_000_000))
}

pub(crate) fn spec() -> MigrationSpec {
    let instance = |name| InstanceId::new(name).unwrap();
    MigrationSpec::new(MigrationId::new("m-1").unwrap(), "orders", instance("source"), instance("copy"))
}

/// Polls a future so often, then drops it.
pub(crate) async fn for_polls<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

impl Truth {
    fn builds_on(&mut self, parent: Option<u32>) {
        assert!(parent.is_none_or(|round| self.staged.contains(&Part::Round(round))), "builds on what the target lacks");
        self.parent = parent;
    }
}

fn dumped(job: &CheckpointJob, part: Part) -> Checkpoint {
    Checkpoint {
        migration: job.migration.clone(),
        part,
        parent: job.parent,
        archive_bytes: ARCHIVE.len() as u64,
        freeze: Duration::from_micros(700),
        manifest: BTreeMap::new(),
    }
}

fn missing(what: &str) -> Error {
    Error::fatal(ErrorKind::NotFound, format!("there is no {what}"))
}

#[async_trait]
impl CheckpointSource for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capability(&self) -> CheckpointCapability {
        self.capability
    }

    async fn status(&self) -> Result<SourceStatus> {
        let status = |truth: &mut Truth| Ok(if truth.source_lives { SourceStatus::Present } else { SourceStatus::Gone });
        self.call(Step::WatchSource, status).await
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        self.call(Step::PreDump(round), |truth| {
            assert!(!truth.parked, "a round after the source was parked");
            truth.builds_on(job.parent);
            truth.checkpoint = true;
            let checkpoint = dumped(job, Part::Round(round));
            Ok(PreDump { checkpoint, dirty_bytes: 64_000_000 >> round, memory_bytes: 64_000_000 })
        })
        .await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.call(Step::Checkpoint, |truth| {
            assert!(truth.parked, "checkpointed between two safe points");
            if !truth.source_lives {
                return Err(missing("container"));
            }
            truth.builds_on(job.parent);
            truth.checkpoint = true;
            Ok(dumped(job, Part::Final))
        })
        .await
    }

    async fn open(&self, _checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        if !self.truth().checkpoint {
            return Err(missing("checkpoint"));
        }
        let pieces: Vec<_> = ARCHIVE[offset_bytes as usize..].chunks(10).map(|piece| Ok(Bytes::from_static(piece))).collect();
        Ok(futures_util::stream::iter(pieces).boxed())
    }

    async fn retire(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::RetireSource, |truth| {
            assert_eq!(truth.owner, Owner::Copy, "the owner was ended");
            truth.source_lives = false;
            Ok(())
        })
        .await
    }

    async fn discard(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::DiscardCheckpoint, |truth| {
            truth.checkpoint = false;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl TransferBackend for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability::default()
    }

    async fn send(&self, job: &TransferJob, mut body: ByteStream) -> Result<Receipt> {
        let mut bytes = 0;
        while let Some(piece) = body.next().await {
            bytes += piece?.len() as u64;
        }
        assert_eq!(bytes, job.archive_bytes);
        self.call(Step::Send(job.part), |truth| {
            truth.arrived.insert(job.part, bytes);
            Ok(Receipt {
                migration: job.migration.clone(),
                part: job.part,
                digest: Digest::of(ARCHIVE),
                archive_bytes: bytes,
                transferred_bytes: bytes / 2,
                location: "sim".into(),
            })
        })
        .await
    }

    async fn open(&self, _receipt: &Receipt, _offset_bytes: u64) -> Result<ByteStream> {
        Ok(futures_util::stream::iter([Ok(Bytes::from_static(ARCHIVE))]).boxed())
    }

    async fn discard(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::DiscardTransfer, |truth| {
            truth.arrived.clear();
            truth.staged.clear();
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl RestoreTarget for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    async fn prepare(&self, _job: &RestoreJob) -> Result<()> {
        self.call(Step::Prepare, |_| Ok(())).await
    }

    async fn await_ready(&self, _job: &RestoreJob) -> Result<()> {
        self.call(Step::AwaitReady, |_| Ok(())).await
    }

    async fn stage(&self, _job: &RestoreJob, receipt: &Receipt, _transfer: Arc<dyn TransferBackend>) -> Result<()> {
        let Part::Round(round) = receipt.part else { panic!("the final part is not staged") };
        self.call(Step::Stage(round), |truth| {
            assert!(truth.arrived.contains_key(&receipt.part), "staged before it arrived");
            truth.staged.insert(receipt.part);
            Ok(())
        })
        .await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], _transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        self.call(Step::Restore, |truth| {
            let parts: Vec<Part> = receipts.iter().map(|receipt| receipt.part).collect();
            assert!(parts.is_sorted() && parts.last() == Some(&Part::Final), "{parts:?}");
            assert!(parts.iter().all(|part| truth.arrived.contains_key(part)), "restored before it arrived: {parts:?} of {truth:?}");
            assert!(truth.parent.is_none() || parts.contains(&Part::Round(1)), "the chain has no beginning: {parts:?}");
            truth.restored_from = parts;
            truth.copy_lives = true;
            Ok(Restored { copy: job.copy.clone(), restore: Duration::from_millis(1) })
        })
        .await
    }

    async fn status(&self, _migration: &MigrationId) -> Result<CopyStatus> {
        let status = |truth: &mut Truth| Ok(if truth.copy_lives { CopyStatus::Present } else { CopyStatus::Gone });
        self.call(Step::WatchCopy, status).await
    }

    async fn promote(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::Promote, |truth| {
            assert_eq!(truth.owner, Owner::Copy);
            truth.promoted = true;
            Ok(())
        })
        .await
    }

    async fn discard(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::DiscardCopy, |truth| {
            assert!(truth.owner == Owner::Source || !truth.journal, "a copy was ended that may own the queue");
            truth.copy_lives = false;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl ReplayBroker for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    async fn begin(&self, job: &ReplayJob) -> Result<Begun> {
        self.call(Step::Begin, |truth| {
            truth.journal = true;
            let mode = if job.mode == HandoverChoice::Hold { HandoverMode::Hold } else { HandoverMode::Chase };
            Ok(Begun { protocol: Protocol::Journal, mode, applied: 100 })
        })
        .await
    }

    async fn park(&self, _migration: &MigrationId) -> Result<Parked> {
        self.call(Step::Park, |truth| {
            truth.parked = true;
            Ok(Parked { n: 104, digest: Digest::of(b"104") })
        })
        .await
    }

    async fn resume(&self, _migration: &MigrationId) -> Result<()> {
        self.call(Step::Resume, |truth| {
            truth.parked = false;
            Ok(())
        })
        .await
    }

    async fn progress(&self, _migration: &MigrationId) -> Result<ReplayProgress> {
        self.call(Step::Progress, |truth| {
            if !truth.copy_lives {
                let standing = match truth.owner {
                    Owner::Copy => ReplayStanding::CopyOwns,
                    _ => self.standing.lock().unwrap().clone().unwrap_or(ReplayStanding::AwaitingCopy),
                };
                return Ok(ReplayProgress { source_n: 120, copy_n: 0, standing });
            }
            truth.lag = truth.lag.saturating_sub(self.replayed_per_look);
            let standing = match (truth.owner, truth.lag, &self.verdict) {
                (Owner::Copy, ..) => ReplayStanding::CopyOwns,
                (_, 1.., _) => ReplayStanding::Replaying,
                (_, 0, Some(verdict)) => verdict.clone(),
                (_, 0, None) => ReplayStanding::Ready,
            };
            Ok(ReplayProgress { source_n: 120, copy_n: 120 - truth.lag, standing })
        })
        .await
    }

    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership> {
        let source_gone = job.source_gone;
        self.call(Step::HandOver, |truth| {
            assert!(!truth.restored_from.is_empty(), "handed over to nobody");
            if !truth.copy_lives && truth.owner == Owner::Undecided {
                return Err(Error::retry(ErrorKind::Timeout, "the copy does not take the queue"));
            }
            assert!(!source_gone || !truth.source_lives, "FENCE although the source lives");
            if !truth.source_lives && !source_gone && truth.owner == Owner::Undecided {
                return Err(Error::retry(ErrorKind::Timeout, "the source does not write its END"));
            }
            if truth.owner == Owner::Undecided {
                truth.owner = Owner::Copy;
            }
            Ok(ownership(truth))
        })
        .await
    }

    async fn abort(&self, _migration: &MigrationId, reason: &str) -> Result<Ownership> {
        assert!(!reason.is_empty());
        self.call(Step::Abort, |truth| {
            if !truth.journal {
                return Err(missing("journal"));
            }
            if truth.owner == Owner::Undecided {
                truth.owner = Owner::Source;
                truth.parked = false;
            }
            Ok(ownership(truth))
        })
        .await
    }

    async fn retire(&self, _migration: &MigrationId, _source_gone: bool) -> Result<Retired> {
        self.call(Step::RetireBroker, |truth| {
            assert!(if truth.owner == Owner::Copy { !truth.source_lives } else { !truth.copy_lives }, "the journal went first: {truth:#?}");
            truth.journal = false;
            let cut_over = (truth.owner == Owner::Copy).then(cut_over);
            Ok(Retired { applied_by_source: 120, journaled: 20, replayed: 16, applied_by_target: 5, cut_over })
        })
        .await
    }
}

fn cut_over() -> CutOver {
    CutOver {
        n: 120,
        digest_source: Some(Digest::of(b"120")),
        digest_copy: Some(Digest::of(b"120")),
        cutover_gap: Some(Duration::from_micros(3_500)),
        ..CutOver::default()
    }
}

fn ownership(truth: &Truth) -> Ownership {
    if truth.owner == Owner::Copy { Ownership::Copy(cut_over()) } else { Ownership::Source { reason: "the journal says so".into() } }
}
