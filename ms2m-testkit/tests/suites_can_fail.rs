//! The suites catch implementations that break their contracts: a suite that passes everything proves nothing.

#[path = "paged/mod.rs"]
mod paged;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use ms2m_core::{ByteStream, MigrationId, Part, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use ms2m_testkit::link_conformance::{self, Options};
use ms2m_testkit::wrap::{Chaos, ChaosOptions, Moment};
use ms2m_testkit::{Faults, MemoryBroker, MemoryTransfer, Profile, conformance};

async fn violation(suite: impl Future<Output = ()>) -> String {
    let panicked = AssertUnwindSafe(suite).catch_unwind().await.expect_err("the suite must find a violation");
    match panicked.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().expect("a panic with a text")).to_owned(),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    IgnoresLength,
    KeepsPartsAfterErrors,
    CountsOffsetsFromOne,
    ForgetsToDiscard,
    NoDeadline,
    MixesPartsUp,
}

#[derive(Debug)]
struct Flawed(MemoryTransfer, Flaw);

#[async_trait]
impl TransferBackend for Flawed {
    fn name(&self) -> &'static str {
        "flawed"
    }
    fn capability(&self) -> TransferCapability {
        self.0.capability()
    }
    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        match self.1 {
            Flaw::IgnoresLength | Flaw::KeepsPartsAfterErrors => {
                let pieces: Vec<_> = body.collect().await;
                let broke = pieces.iter().any(Result::is_err);
                let whole: Vec<_> = pieces.into_iter().filter_map(Result::ok).collect();
                let length: usize = whole.iter().map(|piece| piece.len()).sum();
                let actual = TransferJob { archive_bytes: length as u64, ..job.clone() };
                let receipt = self.0.send(&actual, Box::pin(futures_util::stream::iter(whole.into_iter().map(Ok)))).await?;
                let failed = broke || (self.1 == Flaw::KeepsPartsAfterErrors && length as u64 != job.archive_bytes);
                if failed { Err(ms2m_core::Error::retry(ms2m_core::ErrorKind::Unavailable, "broke")) } else { Ok(receipt) }
            }
            Flaw::MixesPartsUp => {
                let receipt = self.0.send(&TransferJob { part: Part::Final, ..job.clone() }, body).await?;
                Ok(Receipt { part: job.part, ..receipt })
            }
            Flaw::NoDeadline => self.0.send(&TransferJob { deadline: Duration::from_secs(3600), ..job.clone() }, body).await,
            _ => self.0.send(job, body).await,
        }
    }
    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let off_by_one = u64::from(self.1 == Flaw::CountsOffsetsFromOne && offset_bytes > 0);
        let part = if self.1 == Flaw::MixesPartsUp { Part::Final } else { receipt.part };
        self.0.open(&Receipt { part, ..receipt.clone() }, offset_bytes - off_by_one).await
    }
    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        if self.1 == Flaw::ForgetsToDiscard { Ok(()) } else { self.0.discard(migration).await }
    }
}

#[tokio::test(start_paused = true)]
async fn flawed_transfers_are_found() {
    for (flaw, clause) in [
        (Flaw::IgnoresLength, "too short must be an error"),
        (Flaw::KeepsPartsAfterErrors, "open after a failed send must be an error"),
        (Flaw::CountsOffsetsFromOne, "yields the rest"),
        (Flaw::ForgetsToDiscard, "must be an error"),
        (Flaw::NoDeadline, "did not end within"),
        (Flaw::MixesPartsUp, "open a part"),
    ] {
        let suite = conformance::transfer(async || Arc::new(Flawed(MemoryTransfer::new(64 << 20), flaw)));
        let text = violation(suite).await;
        assert!(text.contains(clause), "{flaw:?}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_loses_answers_is_found() {
    let options = ChaosOptions { moments: vec![Moment::After], ..ChaosOptions::always(1, 1) };
    let suite = conformance::transfer(async || Arc::new(Chaos::new(Arc::new(MemoryTransfer::default()), options.clone())));
    violation(suite).await;
}

#[tokio::test(start_paused = true)]
async fn flawed_pre_dumps_are_found() {
    for (flaw, clause) in [(paged::Flaw::BuildsOnTheLatest, "has not arrived"), (paged::Flaw::KeepsRounds, "must be an error")] {
        let suite = conformance::checkpoint(async || {
            let source = Arc::new(paged::Paged::new(Some(flaw)));
            let process = Arc::clone(&source);
            conformance::CheckpointSubject { source, alive: Box::new(move || process.lives()), keep: Box::new(()) }
        });
        let text = violation(suite).await;
        assert!(text.contains(clause), "{flaw:?}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_notice_a_crash_is_found() {
    let parts = paged::Paged::new(None).parts(1).await;
    let suite = conformance::restore(async || {
        let target = Arc::new(paged::Assembler::default());
        let (copies, parts) = (target.copies.clone(), parts.clone());
        let live_copies = Box::new(move || copies.lock().unwrap().len());
        conformance::RestoreSubject { target, parts, live_copies, crash_copies: Box::new(|| ()), keep: Box::new(()) }
    });
    assert!(violation(suite).await.contains("a copy that crashed"));
}

/// A broker whose cumulative acks are dropped like single ones, one that cannot fence, one whose looks at queues fail.
#[tokio::test(start_paused = true)]
async fn unfit_brokers_are_found() {
    let with = |change: fn(&mut Profile), fault: fn(&mut Faults)| {
        let broker = Arc::new(MemoryBroker::default());
        broker.set_profile(change);
        broker.set_faults(fault);
        broker
    };
    let cases: [(Arc<MemoryBroker>, &str); 4] = [
        (with(|profile| profile.fence = false, |_| ()), "must be able to fence"),
        (with(|_| (), |faults| faults.status_unavailable = true), "not available"),
        (with(|_| (), |faults| faults.refuse_publish = vec!["conformance.publish*".to_owned()]), "confirm"),
        (with(|profile| profile.quorum_delivery_limit = Some(0), |_| ()), "did not end within"),
    ];
    for (broker, clause) in cases {
        let text = violation(link_conformance::run(async || Arc::clone(&broker), &Options::default())).await;
        assert!(text.contains(clause), "{clause}: {text}");
    }
}
