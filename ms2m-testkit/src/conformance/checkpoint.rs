//! [`CheckpointSource`]'s contract.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{CheckpointJob, CheckpointSource, ErrorKind, SourceStatus};
use tokio::time::Instant;

use super::{expect, expect_err, migration, read, within};

/// A running source to try a driver on.
pub struct CheckpointSubject {
    /// The driver of one running container that may be checkpointed at any time.
    pub source: Arc<dyn CheckpointSource>,
    /// Whether the container works, asked of itself and not of the driver.
    pub alive: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whatever must live as long as the subject.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for CheckpointSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointSubject").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Checks every clause on subjects from `make`, each with a running container of its own.
///
/// # Panics
/// With the clause that is violated.
pub async fn checkpoint(make: impl AsyncFn() -> CheckpointSubject) {
    yields_what_it_took(&make().await).await;
    can_be_repeated(&make().await).await;
    says_what_it_cannot(&make().await).await;
    forgets(&make().await).await;
    retires(&make().await).await;
}

fn job(name: &str) -> CheckpointJob {
    CheckpointJob { migration: migration(name), parent: None, leave_running: true, deadline: Duration::from_secs(30) }
}

async fn yields_what_it_took(subject: &CheckpointSubject) {
    let source = &subject.source;
    assert_eq!(expect("status", source.status()).await, SourceStatus::Present, "a running container is present");
    assert!((subject.alive)(), "the subject works to begin with");
    let begun = Instant::now();
    let checkpoint = expect("checkpoint", source.checkpoint(&job("yield"))).await;
    assert!(checkpoint.freeze <= begun.elapsed(), "a freeze of {:?} is longer than the whole call: it is not measured", checkpoint.freeze);
    assert_eq!(checkpoint.migration, migration("yield"), "the checkpoint names the migration");
    if source.capability().leave_running {
        assert!((subject.alive)(), "the container runs on after a checkpoint");
        assert_eq!(expect("status", source.status()).await, SourceStatus::Present);
    }
    let whole = read("open", within("open", source.open(&checkpoint, 0)).await).await;
    assert_eq!(whole.len() as u64, checkpoint.archive_bytes, "the checkpoint yields as many bytes as announced");
    assert!(read("open again", source.open(&checkpoint, 0).await).await == whole, "it yields the same bytes each time");
    for offset in [1, whole.len() / 2, whole.len()] {
        let rest = read("open at an offset", source.open(&checkpoint, offset as u64).await).await;
        assert!(rest == whole[offset.min(whole.len())..], "open from {offset} yields the rest");
    }
}

async fn can_be_repeated(subject: &CheckpointSubject) {
    let source = &subject.source;
    if !source.capability().leave_running {
        return;
    }
    expect("checkpoint", source.checkpoint(&job("repeat"))).await;
    let second = expect("checkpoint again", source.checkpoint(&job("repeat"))).await;
    let bytes = read("open", source.open(&second, 0).await).await;
    assert_eq!(bytes.len() as u64, second.archive_bytes, "a second checkpoint replaces the first");
    assert!((subject.alive)(), "the container runs on after a second checkpoint");
}

async fn says_what_it_cannot(subject: &CheckpointSubject) {
    if subject.source.capability().pre_dump {
        for round in 1..3 {
            expect("pre-dump", subject.source.pre_dump(&job("pre-dump"), round)).await;
            assert!((subject.alive)(), "the container runs during and after a pre-dump");
        }
        expect("checkpoint after pre-dumps", subject.source.checkpoint(&job("pre-dump"))).await;
        expect("discard", subject.source.discard(&migration("pre-dump"))).await;
    } else {
        let error = expect_err("pre-dump without the capability", subject.source.pre_dump(&job("pre-dump"), 1)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
}

async fn forgets(subject: &CheckpointSubject) {
    let source = &subject.source;
    expect("discard of what was never taken", source.discard(&migration("never"))).await;
    let checkpoint = expect("checkpoint", source.checkpoint(&job("forget"))).await;
    expect("discard", source.discard(&checkpoint.migration)).await;
    expect("discard again", source.discard(&checkpoint.migration)).await;
    let error = expect_err("open after discard", source.open(&checkpoint, 0)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    if source.capability().leave_running {
        assert!((subject.alive)(), "discarding a checkpoint does not touch the container");
    }
}

async fn retires(subject: &CheckpointSubject) {
    let source = &subject.source;
    let id = migration("retire");
    expect("checkpoint", source.checkpoint(&job("retire"))).await;
    expect("retire", source.retire(&id)).await;
    assert!(!(subject.alive)(), "nothing of the container works after retire");
    assert_eq!(expect("status", source.status()).await, SourceStatus::Gone, "a retired container is gone");
    expect("retire again", source.retire(&id)).await;
    expect("discard after retire", source.discard(&id)).await;
}
