//! [`RestoreTarget`]'s contract.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ms2m_core::{InstanceId, Part, Receipt, RestoreJob, RestoreTarget, TransferBackend, TransferJob};
use tokio::time::Instant;

use super::{expect, expect_err, migration};
use crate::MemoryTransfer;
use crate::memory_transfer::pieces;
use crate::wrap::{Chaos, ChaosOptions, Moment};

/// A place to make copies, and what to make one from.
pub struct RestoreSubject {
    /// The driver.
    pub target: Arc<dyn RestoreTarget>,
    /// A checkpoint that it can restore, any number of times.
    pub archive: Bytes,
    /// How many copies live, asked of themselves and not of the driver.
    pub live_copies: Box<dyn Fn() -> usize + Send + Sync>,
    /// Whatever must live as long as the subject.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for RestoreSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreSubject").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Checks every clause on subjects from `make`, each without any copy.
///
/// # Panics
/// With the clause that is violated.
pub async fn restore(make: impl AsyncFn() -> RestoreSubject) {
    makes_one_copy(&make().await).await;
    errs_without_a_copy(&make().await).await;
    discards(&make().await).await;
}

fn job(name: &str) -> RestoreJob {
    let copy = InstanceId::new(format!("copy-{name}")).expect("a suite's own name");
    RestoreJob { migration: migration(name), copy, deadline: Duration::from_secs(30) }
}

async fn sent(subject: &RestoreSubject, name: &str) -> (Arc<MemoryTransfer>, Receipt) {
    let transfer = Arc::new(MemoryTransfer::default());
    let archive_bytes = subject.archive.len() as u64;
    let job = TransferJob { migration: migration(name), part: Part::Final, archive_bytes, deadline: Duration::from_secs(30) };
    let receipt = expect("send", transfer.send(&job, pieces(subject.archive.clone()))).await;
    (transfer, receipt)
}

async fn makes_one_copy(subject: &RestoreSubject) {
    let (transfer, receipt) = sent(subject, "one").await;
    let (target, job) = (&subject.target, job("one"));
    expect("prepare", target.prepare(&job)).await;
    expect("prepare again", target.prepare(&job)).await;
    assert_eq!((subject.live_copies)(), 0, "preparing makes no copy");
    let begun = Instant::now();
    let restored = expect("restore", target.restore(&job, std::slice::from_ref(&receipt), transfer.clone())).await;
    assert_eq!(restored.copy, job.copy, "the copy is who it was asked to be");
    assert!(restored.restore <= begun.elapsed(), "a restore of {:?} is longer than the call: it is not measured", restored.restore);
    assert_eq!((subject.live_copies)(), 1, "one copy lives after restore");
    let again = expect("restore again", target.restore(&job, std::slice::from_ref(&receipt), transfer)).await;
    assert_eq!(again.copy, restored.copy, "a repeated restore answers with the living copy");
    assert_eq!((subject.live_copies)(), 1, "a repeated restore makes no second copy");
    expect("promote", target.promote(&job.migration)).await;
    expect("promote again", target.promote(&job.migration)).await;
    assert_eq!((subject.live_copies)(), 1, "promoting neither ends nor makes a copy");
    expect("discard", target.discard(&job.migration)).await;
}

async fn errs_without_a_copy(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("err"));
    expect("prepare", target.prepare(&job)).await;
    let (transfer, receipt) = sent(subject, "err").await;
    let breaking = |moment| {
        let options = ChaosOptions { moments: vec![moment], ..ChaosOptions::always(1, 1) };
        Arc::new(Chaos::new(transfer.clone(), options))
    };
    for moment in [Moment::Before, Moment::During] {
        expect_err("restore from a transfer that fails", target.restore(&job, std::slice::from_ref(&receipt), breaking(moment))).await;
        assert_eq!((subject.live_copies)(), 0, "no copy lives after a failed restore ({moment:?})");
    }
    let elsewhere: Arc<dyn TransferBackend> = Arc::new(MemoryTransfer::default());
    expect_err("restore of what has not arrived", target.restore(&job, std::slice::from_ref(&receipt), elsewhere)).await;
    assert_eq!((subject.live_copies)(), 0, "no copy lives when there is nothing to restore");
    expect("restore after failed ones", target.restore(&job, std::slice::from_ref(&receipt), transfer)).await;
    assert_eq!((subject.live_copies)(), 1, "failures leave nothing that hinders the next restore");
    expect("discard", target.discard(&job.migration)).await;
}

async fn discards(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("discard"));
    expect("discard of what was never prepared", target.discard(&migration("never"))).await;
    expect("prepare", target.prepare(&job)).await;
    expect("discard of what was only prepared", target.discard(&job.migration)).await;
    let (transfer, receipt) = sent(subject, "discard").await;
    expect("prepare after discard", target.prepare(&job)).await;
    expect("restore", target.restore(&job, std::slice::from_ref(&receipt), transfer)).await;
    expect("discard", target.discard(&job.migration)).await;
    assert_eq!((subject.live_copies)(), 0, "no copy lives after discard");
    expect("discard again", target.discard(&job.migration)).await;
}
