//! Wrappers fail and slow down as they say, and no more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use ms2m_core::{Digest, MigrationId, Part, TransferBackend, TransferJob, Verdict};
use ms2m_testkit::MemoryTransfer;
use ms2m_testkit::memory_transfer::pieces;
use ms2m_testkit::wrap::{Chaos, ChaosOptions, Delayed, Moment, Throttled};
use tokio::time::Instant;

fn job(bytes: usize) -> TransferJob {
    TransferJob {
        migration: MigrationId::new("m").unwrap(),
        part: Part::Final,
        archive_bytes: bytes as u64,
        deadline: Duration::from_secs(60),
    }
}

#[tokio::test(start_paused = true)]
async fn time_is_as_configured() {
    let bytes = Bytes::from(vec![1; 10_000_000]);
    let slow: Arc<dyn TransferBackend> = Arc::new(Throttled::new(Arc::new(MemoryTransfer::default()), 5_000_000));
    let begun = Instant::now();
    let receipt = Delayed::new(slow, Duration::from_millis(250)).send(&job(bytes.len()), pieces(bytes.clone())).await.unwrap();
    assert_eq!(receipt.digest, Digest::of(&bytes));
    let elapsed = begun.elapsed();
    assert!((2_250..2_300).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn chaos_fails_as_often_as_allowed_and_at_its_moment() {
    let bytes = Bytes::from(vec![1; 100_000]);
    for (moment, arrived) in [(Moment::Before, false), (Moment::During, false), (Moment::After, true)] {
        let inner = Arc::new(MemoryTransfer::default());
        let options = ChaosOptions { moments: vec![moment], ..ChaosOptions::always(7, 2) };
        let chaos = Chaos::new(inner.clone(), options);
        for _ in 0..2 {
            let error = chaos.send(&job(bytes.len()), pieces(bytes.clone())).await.unwrap_err();
            assert_eq!(error.verdict(), Verdict::Retry);
            assert_eq!(inner.held_bytes() > 0, arrived, "{moment:?}");
        }
        chaos.send(&job(bytes.len()), pieces(bytes.clone())).await.unwrap();
        assert_eq!((chaos.failures(), inner.held_bytes()), (2, 100_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_breaks_off_in_its_middle() {
    let bytes = Bytes::from(vec![1; 100_000]);
    let inner = Arc::new(MemoryTransfer::default());
    let receipt = inner.send(&job(bytes.len()), pieces(bytes.clone())).await.unwrap();
    let chaos = Chaos::new(inner, ChaosOptions { moments: vec![Moment::During], ..ChaosOptions::always(7, 1) });
    let read: Vec<_> = chaos.open(&receipt, 20_000).await.unwrap().collect().await;
    let (last, whole) = read.split_last().unwrap();
    assert!(last.is_err());
    assert_eq!(whole.iter().map(|piece| piece.as_ref().unwrap().len()).sum::<usize>(), 40_000);
    let again: Vec<_> = chaos.open(&receipt, 20_000).await.unwrap().collect().await;
    assert_eq!(again.iter().map(|piece| piece.as_ref().unwrap().len()).sum::<usize>(), 80_000);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_failures() {
    let bytes = Bytes::from(vec![1; 10]);
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let options = ChaosOptions { probability: 0.5, ..ChaosOptions::always(seed, 100) };
        let chaos = Chaos::new(Arc::new(MemoryTransfer::default()), options);
        let mut outcomes = Vec::new();
        for _ in 0..32 {
            outcomes.push(chaos.send(&job(10), pieces(bytes.clone())).await.map_err(|error| error.to_string()).map(|_| ()));
        }
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn memory_is_limited_and_given_back() {
    let transfer = MemoryTransfer::new(1_000);
    let receipt = transfer.send(&job(900), pieces(Bytes::from(vec![1; 900]))).await.unwrap();
    let other = TransferJob { migration: MigrationId::new("n").unwrap(), ..job(200) };
    assert!(transfer.send(&other, pieces(Bytes::from(vec![1; 200]))).await.is_err());
    assert!(transfer.send(&other, pieces(Bytes::from(vec![1; 100]))).await.is_err());
    assert_eq!(transfer.held_bytes(), 900);
    transfer.discard(&receipt.migration).await.unwrap();
    assert_eq!(transfer.held_bytes(), 0);
    transfer.send(&other, pieces(Bytes::from(vec![1; 200]))).await.unwrap();
}
