//! Transfers of all sizes over a wire that breaks at random, some with bodies that fail, some that two want at once. Each ends with the right
//! digest or a clean failure, and in the end the disk is empty. `MS2M_SOAK` says how many, `MS2M_SOAK_AT_ONCE` how many at a time (most
//! of them wait before their next attempt), `MS2M_SEED` which.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{Error, ErrorKind, Part, Result, TransferBackend as _, TransferJob, Verdict};
use ms2m_testkit::Relay;
use ms2m_testkit::relay::{Cut, Direction, Faults};
use ms2m_transfer_direct::DirectTransfer;
use ms2m_transfer_direct::agent::Limits;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{Served, Setup, archive, id, read, streamed, uploaded};

/// Readers on one wire: some are so bad that no TLS record gets through between two cuts.
const READERS_MAX: u32 = 3;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[derive(Default)]
struct Counts {
    arrived: AtomicU64,
    failed_cleanly: AtomicU64,
    bytes: AtomicU64,
    wire_bytes: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transfer_arrives_or_fails_cleanly() {
    let (transfers, workers_max, seed) = (setting("MS2M_SOAK", 60), setting("MS2M_SOAK_AT_ONCE", 8), setting("MS2M_SEED", 1));
    let step = usize::try_from(workers_max).unwrap();
    let begun = Instant::now();
    let limits = Limits { transfers_max: 2 * step, ..Limits::default() };
    let served = Arc::new(Served::start(Setup { limits, ..Setup::default() }).await);
    let counts = Arc::new(Counts::default());
    let mut workers = Vec::new();
    for worker in 0..workers_max {
        let (served, counts) = (Arc::clone(&served), Arc::clone(&counts));
        workers.push(tokio::spawn(async move { work(&served, &counts, (worker..transfers).step_by(step), seed).await }));
    }
    let mut cuts = 0;
    for worker in workers {
        cuts += worker.await.unwrap();
    }
    let [arrived, failed, bytes, wire] =
        [&counts.arrived, &counts.failed_cleanly, &counts.bytes, &counts.wire_bytes].map(|count| count.load(Ordering::Relaxed));
    println!(
        "seed {seed}: {transfers} transfers in {:.1?}: {arrived} arrived ({} MB, {} MB sent), {failed} failed cleanly, {cuts} cuts",
        begun.elapsed(),
        bytes / 1_000_000,
        wire / 1_000_000
    );
    assert_eq!(arrived + failed, transfers);
    // A tenth of the bodies fail by themselves.
    assert!(failed <= transfers / 4 + 5, "too many gave up");
    assert_eq!(served.files(), [""; 0], "the disk is empty");
    let facts = served.agent.facts();
    assert_eq!((facts.transfers_open, facts.uploads_failed >= facts.uploads_done), (0, false), "{facts:?}");
}

/// Some of the transfers, over a wire of their own; returns how often it was cut.
async fn work(served: &Served, counts: &Counts, numbers: impl Iterator<Item = u64>, seed: u64) -> u64 {
    let relay = Relay::start(served.address, Faults::default()).await.unwrap();
    let client = served.client_at(relay.address());
    for number in numbers {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + number);
        let closing = random.random_bool(0.3);
        let cut = Cut::random(
            [Direction::ToServer, Direction::Either][random.random_range(0..2)],
            // A handshake takes about 4 KiB.
            8_000..=random.random_range(20_000..400_000),
        );
        relay.set(Faults { seed: number, ..Faults::cut(if closing { cut.closing() } else { cut }) });
        let size = match random.random_range(0..10) {
            0 => random.random_range(0..16),
            1..=6 => random.random_range(16..200_000),
            7 | 8 => random.random_range(200_000..2_000_000),
            _ => random.random_range(2_000_000..9_000_000),
        };
        let bytes = archive(number, size);
        let name = format!("soak-{number}");
        let fails_at = random.random_bool(0.1).then(|| random.random_range(0..=size));
        match one((&client, &relay), &name, &bytes, fails_at, random.random_bool(0.1)).await {
            Ok(wire_bytes) => {
                assert!(fails_at.is_none(), "{name}: a body that fails must not arrive");
                counts.arrived.fetch_add(1, Ordering::Relaxed);
                counts.bytes.fetch_add(size as u64, Ordering::Relaxed);
                counts.wire_bytes.fetch_add(wire_bytes, Ordering::Relaxed);
            }
            Err(error) => {
                // Too many cuts in a row without a byte between them.
                let given_up = error.verdict() == Verdict::Retry && relay.passed().cuts > 0;
                assert!(fails_at.is_some() || given_up, "{name} of {size} bytes: {error:?}");
                let visible =
                    std::fs::metadata(served.directory().join(&name).join(format!("final.{}", uploaded(&bytes)).replace(':', "-")));
                assert!(visible.is_err(), "{name}: nothing may be visible after an error");
                counts.failed_cleanly.fetch_add(1, Ordering::Relaxed);
            }
        }
        client.discard(&id(&name)).await.unwrap_or_else(|error| panic!("{name}: discard: {error:?}"));
        // A late connection of a call that was taken over may still be on its way out.
        assert_eq!(read(&client, &support::receipt(&name, &bytes), 0).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    relay.passed().cuts
}

/// Sends, perhaps with a rival that begins the same with other bytes, and reads back what has arrived.
async fn one((client, relay): (&DirectTransfer, &Relay), name: &str, bytes: &Bytes, fails_at: Option<usize>, rival: bool) -> Result<u64> {
    let job = TransferJob { migration: id(name), part: Part::Final, archive_bytes: bytes.len() as u64, deadline: Duration::from_secs(120) };
    if rival {
        // Given up in the middle; what it leaves is of other bytes.
        let other = archive(u64::MAX, bytes.len());
        let stalled = Box::pin(streamed(&other.slice(..other.len() / 2)).chain(stream::pending()));
        let hurried = TransferJob { deadline: Duration::from_millis(150), ..job.clone() };
        let given_up = client.send(&hurried, stalled).await;
        assert!(given_up.is_err() || bytes.len() < 2, "a body that stalls arrives nowhere");
    }
    let body = match fails_at {
        None => streamed(bytes),
        Some(at) => {
            let failure = Err(Error::undo(ErrorKind::Unavailable, "the body fails"));
            Box::pin(streamed(&bytes.slice(..at)).chain(stream::iter([failure])))
        }
    };
    let receipt = client.send(&job, body).await?;
    assert_eq!(receipt.digest, uploaded(bytes), "{name}: the digest");
    // A reader gives up after some cuts in a row, too. What has arrived waits for the next one, on a wire that may be better.
    let mut failed = 0;
    let found = loop {
        match read(client, &receipt, 0).await {
            Err(error) if error.verdict() == Verdict::Retry => failed += 1,
            found => break found?,
        }
        if failed >= READERS_MAX {
            relay.set(Faults::default());
        }
    };
    assert!(found == *bytes, "{name}: what arrived is what was sent");
    Ok(receipt.transferred_bytes)
}
