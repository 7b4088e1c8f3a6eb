//! [`CheckpointSource`]'s contract.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{CheckpointJob, CheckpointSource, ErrorKind, Part, SourceStatus};
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
    pre_dumps(&make().await).await;
    repeats_rounds(&make().await).await;
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
    assert_eq!((checkpoint.part, checkpoint.parent), (Part::Final, None), "a checkpoint on nothing is whole");
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

/// A dump on what `parent` has brought to the target.
fn building_on(name: &str, parent: Option<u32>) -> CheckpointJob {
    CheckpointJob { parent, ..job(name) }
}

async fn pre_dumps(subject: &CheckpointSubject) {
    let source = &subject.source;
    if !source.capability().has_rounds() {
        let error = expect_err("pre-dump without the capability", source.pre_dump(&job("pre-dump"), 1)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        expect("checkpoint without pre-dump", source.checkpoint(&job("pre-dump"))).await;
        return;
    }
    let mut parts = Vec::new();
    for (round, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
        let done = expect("pre-dump", source.pre_dump(&building_on("pre-dump", parent), round)).await;
        assert!((subject.alive)(), "the container runs during and after a pre-dump");
        assert_eq!(done.checkpoint.part, Part::Round(round), "a pre-dump names its round");
        assert!(done.dirty_bytes <= done.memory_bytes, "what is dirty is part of the memory: {done:?}");
        parts.push(done.checkpoint);
    }
    assert_eq!(parts[0].parent, None, "the first round is whole");
    assert!(parts[1..].iter().zip(1..).all(|(part, round)| part.parent.is_none_or(|parent| parent <= round)), "{parts:?}");
    // Its third round did not get through.
    let last = expect("checkpoint after pre-dumps", source.checkpoint(&building_on("pre-dump", Some(2)))).await;
    assert_eq!(last.part, Part::Final);
    assert!(last.parent.is_none_or(|parent| parent <= 2), "it builds on a round that has not arrived: {last:?}");
    parts.push(last);
    for part in &parts {
        assert_eq!(part.migration, migration("pre-dump"), "each part names the migration");
        let bytes = read("open a part", within("open", source.open(part, 0)).await).await;
        assert_eq!(bytes.len() as u64, part.archive_bytes, "each part yields as many bytes as announced");
        let rest = read("open a part at an offset", source.open(part, 7).await).await;
        assert!(rest == bytes[7.min(bytes.len())..], "open from an offset yields the rest");
    }
    let whole = expect("checkpoint on nothing", source.checkpoint(&job("pre-dump"))).await;
    assert_eq!(whole.parent, None, "where nothing has arrived everything is written");
    expect("discard", source.discard(&migration("pre-dump"))).await;
    for part in &parts {
        let error = expect_err("open of a part after discard", source.open(part, 0)).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "discard forgets all parts: {error:?}");
    }
    assert!((subject.alive)(), "the container runs on after pre-dumps");
}

async fn repeats_rounds(subject: &CheckpointSubject) {
    let source = &subject.source;
    if !source.capability().has_rounds() {
        return;
    }
    expect("pre-dump", source.pre_dump(&job("again"), 1)).await;
    let again = expect("pre-dump again", source.pre_dump(&job("again"), 1)).await.checkpoint;
    assert_eq!((again.part, again.parent), (Part::Round(1), None), "a repeated first round is whole");
    let second = expect("the next pre-dump", source.pre_dump(&building_on("again", Some(1)), 2)).await.checkpoint;
    for part in [&again, &second] {
        let bytes = read("open", within("open", source.open(part, 0)).await).await;
        assert_eq!(bytes.len() as u64, part.archive_bytes);
    }
    expect("discard", source.discard(&migration("again"))).await;
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
