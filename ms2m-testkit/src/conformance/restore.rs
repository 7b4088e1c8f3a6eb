//! [`RestoreTarget`]'s contract.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ms2m_core::{CopyStatus, InstanceId, Part, Receipt, RestoreJob, RestoreTarget, TransferBackend, TransferJob};
use tokio::time::{Instant, sleep};

use super::{expect, expect_err, migration, within};
use crate::MemoryTransfer;
use crate::memory_transfer::pieces;
use crate::wrap::{Chaos, ChaosOptions, Moment};

/// Between two looks at something that takes a moment.
const LOOK: Duration = Duration::from_millis(5);

/// A place to make copies, and what to make one from.
pub struct RestoreSubject {
    /// The driver.
    pub target: Arc<dyn RestoreTarget>,
    /// A checkpoint that it can restore, any number of times: its parts in order, the final one last. One part without pre-dump.
    pub parts: Vec<Bytes>,
    /// How many copies live, asked of themselves and not of the driver.
    pub live_copies: Box<dyn Fn() -> usize + Send + Sync>,
    /// Ends all copies as a crash would.
    pub crash_copies: Box<dyn Fn() + Send + Sync>,
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
    stages(&make().await).await;
    notices_a_crash(&make().await).await;
}

fn job(name: &str) -> RestoreJob {
    let copy = InstanceId::new(format!("copy-{name}")).expect("a suite's own name");
    RestoreJob { migration: migration(name), copy, deadline: Duration::from_secs(30) }
}

/// All parts, at the target.
async fn sent(subject: &RestoreSubject, name: &str) -> (Arc<MemoryTransfer>, Vec<Receipt>) {
    let transfer = Arc::new(MemoryTransfer::default());
    let rounds = subject.parts.len().saturating_sub(1);
    let names = (1..).take(rounds).map(Part::Round).chain([Part::Final]);
    let mut receipts = Vec::new();
    for (part, bytes) in names.zip(&subject.parts) {
        let archive_bytes = bytes.len() as u64;
        let job = TransferJob { migration: migration(name), part, archive_bytes, deadline: Duration::from_secs(30) };
        receipts.push(expect("send", transfer.send(&job, pieces(bytes.clone()))).await);
    }
    assert!(!receipts.is_empty(), "a checkpoint has at least its final part");
    (transfer, receipts)
}

async fn status(subject: &RestoreSubject, name: &str, expected: CopyStatus, when: &str) {
    let status = expect("status", subject.target.status(&migration(name))).await;
    assert_eq!(status, expected, "{when}");
}

async fn makes_one_copy(subject: &RestoreSubject) {
    let (transfer, receipts) = sent(subject, "one").await;
    let (target, job) = (&subject.target, job("one"));
    expect("prepare", target.prepare(&job)).await;
    expect("prepare again", target.prepare(&job)).await;
    expect("await readiness", target.await_ready(&job)).await;
    expect("await readiness again", target.await_ready(&job)).await;
    assert_eq!((subject.live_copies)(), 0, "preparing makes no copy");
    status(subject, "one", CopyStatus::Gone, "before restore no process of the copy exists").await;
    let begun = Instant::now();
    let restored = expect("restore", target.restore(&job, &receipts, transfer.clone())).await;
    assert_eq!(restored.copy, job.copy, "the copy is who it was asked to be");
    assert!(restored.restore <= begun.elapsed(), "a restore of {:?} is longer than the call: it is not measured", restored.restore);
    assert_eq!((subject.live_copies)(), 1, "one copy lives after restore");
    status(subject, "one", CopyStatus::Present, "a restored copy is present").await;
    status(subject, "another", CopyStatus::Gone, "of a copy that was never made nothing is left").await;
    let again = expect("restore again", target.restore(&job, &receipts, transfer)).await;
    assert_eq!(again.copy, restored.copy, "a repeated restore answers with the living copy");
    assert_eq!((subject.live_copies)(), 1, "a repeated restore makes no second copy");
    expect("promote", target.promote(&job.migration)).await;
    expect("promote again", target.promote(&job.migration)).await;
    assert_eq!((subject.live_copies)(), 1, "promoting neither ends nor makes a copy");
    status(subject, "one", CopyStatus::Present, "a promoted copy is present").await;
    expect("discard", target.discard(&job.migration)).await;
}

async fn errs_without_a_copy(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("err"));
    expect("prepare", target.prepare(&job)).await;
    let (transfer, receipts) = sent(subject, "err").await;
    let breaking = |moment| {
        let options = ChaosOptions { moments: vec![moment], ..ChaosOptions::always(1, 1) };
        Arc::new(Chaos::new(transfer.clone(), options))
    };
    for moment in [Moment::Before, Moment::During] {
        expect_err("restore from a transfer that fails", target.restore(&job, &receipts, breaking(moment))).await;
        assert_eq!((subject.live_copies)(), 0, "no copy lives after a failed restore ({moment:?})");
    }
    let elsewhere: Arc<dyn TransferBackend> = Arc::new(MemoryTransfer::default());
    expect_err("restore of what has not arrived", target.restore(&job, &receipts, elsewhere)).await;
    assert_eq!((subject.live_copies)(), 0, "no copy lives when there is nothing to restore");
    expect("restore after failed ones", target.restore(&job, &receipts, transfer)).await;
    assert_eq!((subject.live_copies)(), 1, "failures leave nothing that hinders the next restore");
    expect("discard", target.discard(&job.migration)).await;
}

async fn discards(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("discard"));
    expect("discard of what was never prepared", target.discard(&migration("never"))).await;
    expect("prepare", target.prepare(&job)).await;
    expect("discard of what was only prepared", target.discard(&job.migration)).await;
    let (transfer, receipts) = sent(subject, "discard").await;
    expect("prepare after discard", target.prepare(&job)).await;
    expect("restore", target.restore(&job, &receipts, transfer)).await;
    expect("discard", target.discard(&job.migration)).await;
    assert_eq!((subject.live_copies)(), 0, "no copy lives after discard");
    status(subject, "discard", CopyStatus::Gone, "nothing is left of a discarded copy").await;
    expect("discard again", target.discard(&job.migration)).await;
}

/// Staging makes nothing that lives, may be repeated, and may be left out.
async fn stages(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("stage"));
    let (transfer, receipts) = sent(subject, "stage").await;
    let (_, rounds) = receipts.split_last().expect("a final part");
    expect("prepare", target.prepare(&job)).await;
    for receipt in rounds {
        expect("stage", target.stage(&job, receipt, transfer.clone())).await;
        expect("stage again", target.stage(&job, receipt, transfer.clone())).await;
    }
    assert_eq!((subject.live_copies)(), 0, "staging makes no copy");
    expect("restore of what was staged", target.restore(&job, &receipts, transfer.clone())).await;
    assert_eq!((subject.live_copies)(), 1);
    expect("discard", target.discard(&job.migration)).await;
    expect("prepare", target.prepare(&job)).await;
    expect("restore of what was not staged", target.restore(&job, &receipts, transfer.clone())).await;
    expect("discard", target.discard(&job.migration)).await;
    expect("prepare", target.prepare(&job)).await;
    for receipt in rounds {
        expect("stage", target.stage(&job, receipt, transfer.clone())).await;
    }
    expect("discard of what was only staged", target.discard(&job.migration)).await;
    assert_eq!((subject.live_copies)(), 0);
}

async fn notices_a_crash(subject: &RestoreSubject) {
    let (target, job) = (&subject.target, job("crash"));
    let (transfer, receipts) = sent(subject, "crash").await;
    expect("prepare", target.prepare(&job)).await;
    expect("restore", target.restore(&job, &receipts, transfer)).await;
    (subject.crash_copies)();
    within("the end of a copy that crashed is noticed", async {
        while expect("status", target.status(&job.migration)).await == CopyStatus::Present {
            sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!((subject.live_copies)(), 0, "a copy is said to be gone while it lives");
    expect("discard of a copy that has crashed", target.discard(&job.migration)).await;
    status(subject, "crash", CopyStatus::Gone, "nothing is left after that").await;
}
