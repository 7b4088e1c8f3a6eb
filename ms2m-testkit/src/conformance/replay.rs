//! [`ReplayBroker`]'s contract.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{
    ErrorKind, HandOverJob, HandoverChoice, HandoverMode, InstanceId, MigrationId, Ownership, ReplayBroker, ReplayJob, ReplayProgress,
    ReplayStanding, Result,
};
use tokio::time::{Instant, sleep};

use super::{expect, expect_err, migration, within};

/// A queue with a busy, deterministic source on it, to try a backend on.
#[async_trait]
pub trait ReplaySubject: fmt::Debug + Send + Sync {
    /// A new backend for the queue, as another process would make it after a crash.
    fn backend(&self) -> Arc<dyn ReplayBroker>;
    /// The queue.
    fn queue(&self) -> String;
    /// The consumer on it.
    fn source(&self) -> InstanceId;
    /// Starts the copy, under this name, from the source's state at the place where it is parked.
    async fn start_copy(&self, copy: &InstanceId, migration: &MigrationId) -> Result<()>;
    /// Ends the copy, certainly.
    async fn end_copy(&self);
    /// How many messages the two have applied, asked of themselves and not of the backend.
    fn applied(&self) -> u64;
}

/// Checks every clause on subjects from `make`, each with a queue and a source of its own.
///
/// # Panics
/// With the clause that is violated.
pub async fn replay<S: ReplaySubject + Any>(make: impl AsyncFn() -> S) {
    refuses_what_is_not_there(&make().await).await;
    admits_one_migration(&make().await).await;
    gives_back_before_the_commit(&make().await).await;
    hands_over_in_both_modes(&make().await, HandoverChoice::Chase).await;
    hands_over_in_both_modes(&make().await, HandoverChoice::Hold).await;
    survives_its_controller(&make().await).await;
}

/// Names are the subject's own: several suites may share a broker.
fn copy(subject: &dyn ReplaySubject) -> InstanceId {
    InstanceId::new(format!("copy-of-{}", subject.source())).expect("a suite's own name")
}

fn job(subject: &dyn ReplaySubject, name: &str, mode: HandoverChoice) -> ReplayJob {
    ReplayJob { migration: migration(name), queue: subject.queue(), source: subject.source(), copy: copy(subject), mode }
}

/// The source works: it applies something new within a moment.
async fn works(subject: &dyn ReplaySubject, what: &str) {
    let before = subject.applied();
    let moved_on = async {
        while subject.applied() == before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("{what}: work goes on"), moved_on).await;
}

async fn ready(backend: &dyn ReplayBroker, id: &MigrationId) -> ReplayProgress {
    let begun = Instant::now();
    loop {
        let progress = expect("progress", backend.progress(id)).await;
        if progress.standing == ReplayStanding::Ready {
            return progress;
        }
        let pending = matches!(progress.standing, ReplayStanding::AwaitingCopy | ReplayStanding::Replaying);
        assert!(pending && begun.elapsed() < Duration::from_secs(30), "the copy gets ready: {progress:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn refuses_what_is_not_there(subject: &dyn ReplaySubject) {
    let backend = subject.backend();
    let mut stranger = job(subject, "stranger", HandoverChoice::Auto);
    stranger.source = InstanceId::new("nobody").expect("a suite's own name");
    let error = expect_err("begin with an unknown consumer", backend.begin(&stranger)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "a consumer that does not listen is not found: {error}");
    let owner = expect("abort", backend.abort(&stranger.migration, "suite")).await;
    assert!(matches!(owner, Ownership::Source { .. }), "nothing has changed hands");
    expect("retire", backend.retire(&stranger.migration, false)).await;
    works(subject, "after a refusal").await;
}

async fn admits_one_migration(subject: &dyn ReplaySubject) {
    let (first, second) = (subject.backend(), subject.backend());
    let (one, two) = (job(subject, "one", HandoverChoice::Auto), job(subject, "two", HandoverChoice::Auto));
    expect("begin", first.begin(&one)).await;
    expect("begin again", first.begin(&one)).await;
    let error = expect_err("begin of a second migration", second.begin(&two)).await;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "one migration per queue: {error}");
    let owner = expect("abort of the second", second.abort(&two.migration, "suite")).await;
    assert!(matches!(owner, Ownership::Source { .. }));
    expect("retire of the second", second.retire(&two.migration, false)).await;
    // The first one is not disturbed by that.
    expect("park", first.park(&one.migration)).await;
    expect("abort", first.abort(&one.migration, "suite")).await;
    expect("retire", first.retire(&one.migration, false)).await;
    works(subject, "after an abort").await;
    expect("begin after the first has ended", second.begin(&two)).await;
    expect("abort", second.abort(&two.migration, "suite")).await;
    expect("retire", second.retire(&two.migration, false)).await;
}

async fn gives_back_before_the_commit(subject: &dyn ReplaySubject) {
    let backend = subject.backend();
    let job = job(subject, "back", HandoverChoice::Auto);
    let id = &job.migration;
    expect("begin", backend.begin(&job)).await;
    let early = expect("progress before there is a copy", backend.progress(id)).await;
    assert_eq!(early.standing, ReplayStanding::AwaitingCopy, "{early:?}");
    let parked = expect("park", backend.park(id)).await;
    assert_eq!(expect("park again", backend.park(id)).await, parked, "parked once, parked at one place");
    let standing_still = subject.applied();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(subject.applied(), standing_still, "a parked source applies nothing");
    expect("start the copy", subject.start_copy(&copy(subject), id)).await;
    ready(&*backend, id).await;
    let owner = expect("abort", backend.abort(id, "changed our mind")).await;
    assert!(matches!(&owner, Ownership::Source { reason } if reason == "changed our mind"), "the source owns, and why: {owner:?}");
    assert!(matches!(expect("abort again", backend.abort(id, "again")).await, Ownership::Source { .. }), "aborted stays aborted");
    subject.end_copy().await;
    let late = HandOverJob { migration: id.clone(), source_gone: false, deadline: Duration::from_secs(5) };
    assert!(matches!(expect("hand over", backend.hand_over(&late)).await, Ownership::Source { .. }), "it is too late to hand over");
    expect("retire", backend.retire(id, false)).await;
    expect("retire again", backend.retire(id, false)).await;
    works(subject, "after a late abort").await;
}

async fn hands_over_in_both_modes(subject: &dyn ReplaySubject, mode: HandoverChoice) {
    let backend = subject.backend();
    let job = job(subject, "over", mode);
    let id = &job.migration;
    let begun = expect("begin", backend.begin(&job)).await;
    let parked = expect("park", backend.park(id)).await;
    assert!(parked.n >= begun.applied, "numbers grow");
    expect("start the copy", subject.start_copy(&copy(subject), id)).await;
    if begun.mode == HandoverMode::Chase {
        expect("resume", backend.resume(id)).await;
        expect("resume again", backend.resume(id)).await;
    }
    ready(&*backend, id).await;
    let over = HandOverJob { migration: id.clone(), source_gone: false, deadline: Duration::from_secs(20) };
    let Ownership::Copy(cut) = expect("hand over", backend.hand_over(&over)).await else { panic!("the copy owns the queue") };
    assert!(cut.digest_source.is_some() && cut.digest_source == cut.digest_copy, "the digests at the cut agree");
    assert!(cut.n >= parked.n, "the cut comes after the checkpoint");
    if begun.mode == HandoverMode::Hold {
        assert_eq!(cut.n, parked.n, "in Hold nothing is applied between checkpoint and cut");
    }
    let again = expect("hand over again", backend.hand_over(&over)).await;
    assert!(matches!(again, Ownership::Copy(_)), "handed over stays handed over");
    assert!(matches!(expect("abort", backend.abort(id, "too late")).await, Ownership::Copy(_)), "after the commit nothing rolls back");
    works(subject, "after the hand-over").await;
    let retired = expect("retire", backend.retire(id, false)).await;
    assert_eq!(retired.replayed, cut.n - parked.n, "replayed is what lies between checkpoint and cut");
    expect("retire again", backend.retire(id, false)).await;
    works(subject, "after the migration").await;
}

/// Every call comes from another process, which knows nothing but the names.
async fn survives_its_controller(subject: &dyn ReplaySubject) {
    let job = job(subject, "relay", HandoverChoice::Chase);
    let id = &job.migration;
    expect("begin", subject.backend().begin(&job)).await;
    expect("begin", subject.backend().begin(&job)).await;
    let parked = expect("park", subject.backend().park(id)).await;
    assert_eq!(expect("park", subject.backend().park(id)).await, parked);
    expect("start the copy", subject.start_copy(&copy(subject), id)).await;
    expect("resume", subject.backend().resume(id)).await;
    ready(&*subject.backend(), id).await;
    let over = HandOverJob { migration: id.clone(), source_gone: false, deadline: Duration::from_secs(20) };
    for _ in 0..2 {
        assert!(matches!(expect("hand over", subject.backend().hand_over(&over)).await, Ownership::Copy(_)));
    }
    expect("retire", subject.backend().retire(id, false)).await;
    works(subject, "after the migration").await;
}
