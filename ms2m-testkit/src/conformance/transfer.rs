//! [`TransferBackend`]'s contract.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Part, Receipt, Result, TransferBackend, TransferJob};
use tokio::time::timeout;

use super::{expect, expect_err, migration, read, within};
use crate::workload::body;

const DEADLINE: Duration = Duration::from_secs(30);

/// Checks every clause on backends from `make`; each call of it gives a backend with nothing at its target.
///
/// # Panics
/// With the clause that is violated.
pub async fn transfer<B: TransferBackend + ?Sized>(make: impl AsyncFn() -> Arc<B>) {
    let t = std::time::Instant::now();
    arrives_whole(&*make().await).await;
    eprintln!("T arrives_whole {:?}", t.elapsed());
    opens_at_an_offset(&*make().await).await;
    eprintln!("T opens_at_an_offset {:?}", t.elapsed());
    errs_without_a_trace(&*make().await).await;
    eprintln!("T errs_without_a_trace {:?}", t.elapsed());
    takes_a_repetition(&*make().await).await;
    eprintln!("T takes_a_repetition {:?}", t.elapsed());
    keeps_migrations_apart(&*make().await).await;
    eprintln!("T keeps_migrations_apart {:?}", t.elapsed());
    keeps_parts_apart(&*make().await).await;
    eprintln!("T keeps_parts_apart {:?}", t.elapsed());
    forgets(&*make().await).await;
    eprintln!("T forgets {:?}", t.elapsed());
    keeps_its_limit(&*make().await).await;
    eprintln!("T keeps_its_limit {:?}", t.elapsed());
    keeps_its_deadline(&*make().await).await;
    eprintln!("T keeps_its_deadline {:?}", t.elapsed());
    goes_on_after_a_break(&*make().await).await;
    eprintln!("T goes_on_after_a_break {:?}", t.elapsed());
    ends_when_it_is_dropped(&*make().await).await;
    eprintln!("T ends_when_it_is_dropped {:?}", t.elapsed());
    never_mixes_two_calls(&*make().await).await;
    eprintln!("T never_mixes_two_calls {:?}", t.elapsed());
}

fn job(name: &str, bytes: usize) -> TransferJob {
    TransferJob { migration: migration(name), part: Part::Final, archive_bytes: bytes as u64, deadline: DEADLINE }
}

fn archive(seed: u64, bytes: usize) -> Bytes {
    body(seed, 0, bytes)
}

/// In pieces of odd sizes, an empty one among them.
fn streamed(bytes: &Bytes) -> ByteStream {
    let mut pieces = vec![Ok(Bytes::new())];
    let mut rest = bytes.clone();
    for size in [1, 4096, 70_001].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(Ok(rest.split_to(rest.len().min(size))));
    }
    Box::pin(stream::iter(pieces))
}

async fn send(backend: &(impl TransferBackend + ?Sized), name: &str, bytes: &Bytes) -> Receipt {
    expect("send", backend.send(&job(name, bytes.len()), streamed(bytes))).await
}

async fn arrives_whole(backend: &(impl TransferBackend + ?Sized)) {
    assert!(!backend.name().is_empty());
    for (index, size) in [1, 4096, (3 << 20) + 17, 0].into_iter().enumerate() {
        let bytes = archive(index as u64, size);
        let receipt = send(backend, &format!("whole-{size}"), &bytes).await;
        assert!(receipt.digest.is_of(&bytes), "the receipt's digest is of all bytes, in order");
        assert_eq!(receipt.archive_bytes, size as u64, "the receipt tells the size at the target");
        assert_eq!(receipt.migration, migration(&format!("whole-{size}")), "the receipt names the migration");
        let arrived = read("open", within("open", backend.open(&receipt, 0)).await).await;
        assert!(arrived == bytes, "what is read at the target is what was sent ({size} bytes)");
    }
}

async fn opens_at_an_offset(backend: &(impl TransferBackend + ?Sized)) {
    let bytes = archive(7, (2 << 20) + 5);
    let receipt = send(backend, "offset", &bytes).await;
    for offset in [1, 4095, 4096, 1 << 20, bytes.len() - 1, bytes.len()] {
        let rest = read("open at an offset", within("open", backend.open(&receipt, offset as u64)).await).await;
        assert!(rest == bytes[offset..], "open from {offset} yields the rest");
    }
}

async fn errs_without_a_trace(backend: &(impl TransferBackend + ?Sized)) {
    let bytes = archive(1, 300_000);
    // The receipt of an earlier, discarded transfer knows digest and location, so it would see anything that is left.
    let receipt = send(backend, "trace", &bytes).await;
    expect("discard", backend.discard(&receipt.migration)).await;
    let longer = Bytes::from([&bytes[..], b"x"].concat());
    let broken = |bytes: &Bytes| -> ByteStream {
        let failure: Result<Bytes> = Err(Error::retry(ErrorKind::Unavailable, "the body breaks off"));
        Box::pin(streamed(bytes).chain(stream::iter([failure])))
    };
    let bodies: [(&str, ByteStream); 5] = [
        ("a body that is too short", streamed(&bytes.slice(..bytes.len() - 1))),
        ("an empty body", Box::pin(stream::empty())),
        ("a body that is too long", streamed(&longer)),
        ("a body that errs", broken(&bytes.slice(..200_000))),
        ("a whole body that errs at its end", broken(&bytes)),
    ];
    for (what, body) in bodies {
        expect_err(what, backend.send(&job("trace", bytes.len()), body)).await;
        let error = expect_err("open after a failed send", backend.open(&receipt, 0)).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "nothing is visible after {what}: {error:?}");
    }
    let again = send(backend, "trace", &bytes).await;
    assert_eq!(again.digest, receipt.digest, "a send after failed ones succeeds");
    assert!(read("open", backend.open(&again, 0).await).await == bytes, "and yields what was sent last");
}

async fn takes_a_repetition(backend: &(impl TransferBackend + ?Sized)) {
    let first = archive(1, 100_000);
    let receipt = send(backend, "repeat", &first).await;
    let again = send(backend, "repeat", &first).await;
    assert_eq!(again.digest, receipt.digest, "the same bytes have the same digest");
    assert!(read("open", backend.open(&again, 0).await).await == first, "a repeated send changes nothing");
    let other = archive(2, 90_000);
    let replaced = send(backend, "repeat", &other).await;
    assert!(read("open", backend.open(&replaced, 0).await).await == other, "a second checkpoint of a migration replaces the first");
    // After a failed third one, whatever can be opened is never a mixture.
    let cut = streamed(&first.slice(..50_000));
    expect_err("a body that is too short", backend.send(&job("repeat", first.len()), cut)).await;
    if let Ok(stream) = backend.open(&replaced, 0).await {
        assert!(read("open", Ok(stream)).await == other, "a failed send does not alter what arrived before");
    }
}

async fn keeps_migrations_apart(backend: &(impl TransferBackend + ?Sized)) {
    let (a, b) = (archive(1, 50_000), archive(2, 60_000));
    let (receipt_a, receipt_b) = futures_util::future::join(send(backend, "apart-a", &a), send(backend, "apart-b", &b)).await;
    expect("discard", backend.discard(&receipt_a.migration)).await;
    assert!(read("open", backend.open(&receipt_b, 0).await).await == b, "discarding one migration leaves the others");
    let forged = Receipt { digest: Digest::of(b"other"), ..receipt_b };
    expect_err("open under a digest that has not arrived", backend.open(&forged, 0)).await;
}

async fn keeps_parts_apart(backend: &(impl TransferBackend + ?Sized)) {
    let named = |part, bytes: &Bytes| TransferJob { part, ..job("parts", bytes.len()) };
    let archives: Vec<_> = (1..=3).map(|seed| archive(seed, 40_000)).collect();
    let mut receipts = Vec::new();
    for (part, bytes) in [Part::Round(1), Part::Round(2), Part::Final].into_iter().zip(&archives) {
        let receipt = expect("send of a part", backend.send(&named(part, bytes), streamed(bytes))).await;
        assert_eq!(receipt.part, part, "the receipt names the part");
        receipts.push(receipt);
    }
    let whole = async |receipts: &[Receipt], which: usize, what: &str| {
        let arrived = read("open a part", within("open", backend.open(&receipts[which], 0)).await).await;
        assert!(arrived == archives[which], "{what}");
    };
    for which in 0..3 {
        whole(&receipts, which, "each part yields what was sent as this part").await;
    }
    let cut = streamed(&archives[1].slice(..20_000));
    expect_err("a part that is too short", backend.send(&named(Part::Round(2), &archives[1]), cut)).await;
    whole(&receipts, 0, "a part that fails leaves the others").await;
    // The later receipt counts: the same part again replaces the first.
    receipts[1] = expect("send of a part again", backend.send(&named(Part::Round(2), &archives[1]), streamed(&archives[1]))).await;
    for which in 0..3 {
        whole(&receipts, which, "a part that was sent again leaves the others").await;
    }
    expect("discard", backend.discard(&migration("parts"))).await;
    for receipt in &receipts {
        let error = expect_err("open of a part after discard", backend.open(receipt, 0)).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "discard removes all parts: {error:?}");
    }
}

async fn forgets(backend: &(impl TransferBackend + ?Sized)) {
    expect("discard of what was never sent", backend.discard(&migration("never"))).await;
    let bytes = archive(1, 20_000);
    let receipt = send(backend, "forget", &bytes).await;
    expect("discard", backend.discard(&receipt.migration)).await;
    expect("discard again", backend.discard(&receipt.migration)).await;
    let error = expect_err("open after discard", backend.open(&receipt, 0)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "open after discard: {error:?}");
}

async fn keeps_its_limit(backend: &(impl TransferBackend + ?Sized)) {
    let Some(bytes_max) = backend.capability().bytes_max else { return };
    let large = TransferJob { archive_bytes: bytes_max + 1, ..job("large", 0) };
    // Refused by its announcement: nobody has to send it first.
    let error = expect_err("a checkpoint over the limit", backend.send(&large, streamed(&archive(1, 10)))).await;
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "a checkpoint over the limit: {error:?}");
}

async fn keeps_its_deadline(backend: &(impl TransferBackend + ?Sized)) {
    let bytes = archive(1, 10_000);
    let hurried = TransferJob { deadline: Duration::from_millis(300), ..job("stalled", bytes.len()) };
    let error = expect_err("a body that stalls", backend.send(&hurried, stalled(&bytes, 5_000))).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "a body that stalls: {error:?}");
    send(backend, "stalled", &bytes).await;
}

/// The first so many bytes, and then nothing for ever.
fn stalled(bytes: &Bytes, at: usize) -> ByteStream {
    Box::pin(streamed(&bytes.slice(..at)).chain(std::future::pending().into_stream()))
}

async fn goes_on_after_a_break(backend: &(impl TransferBackend + ?Sized)) {
    // Large enough that a backend which keeps what arrived has something to keep.
    let whole = archive(1, (9 << 20) + 321);
    // Of the same migration and size, and different from some byte on: what broke off may be of another checkpoint.
    let differing = |from: usize| Bytes::from([&whole[..from], &archive(2, whole.len())[from..]].concat());
    for (name, broken) in [("break-same", whole.clone()), ("break-other", differing(0)), ("break-later", differing(5 << 20))] {
        let hurried = TransferJob { deadline: Duration::from_secs(2), ..job(name, whole.len()) };
        let error = expect_err("a body that stalls", backend.send(&hurried, stalled(&broken, 8 << 20))).await;
        assert_eq!(error.kind(), ErrorKind::Timeout, "a body that stalls: {error:?}");
        let receipt = send(backend, name, &whole).await;
        assert!(receipt.digest.is_of(&whole), "{name}: the digest is that of the second call's bytes");
        assert!(read("open", backend.open(&receipt, 0).await).await == whole, "{name}: what arrived is what the second call sent");
        if backend.capability().resumes && name == "break-same" {
            let bytes = receipt.transferred_bytes;
            assert!(bytes < receipt.archive_bytes, "a backend that resumes does not send everything again: {bytes} bytes");
        }
    }
}

async fn ends_when_it_is_dropped(backend: &(impl TransferBackend + ?Sized)) {
    let bytes = archive(1, 300_000);
    let dropped = timeout(Duration::from_millis(200), backend.send(&job("dropped", bytes.len()), stalled(&bytes, 200_000))).await;
    assert!(dropped.is_err(), "a body that stalls ends no send");
    let never = Receipt {
        migration: migration("dropped"),
        part: Part::Final,
        digest: Digest::of(&bytes),
        archive_bytes: bytes.len() as u64,
        transferred_bytes: 0,
        location: String::new(),
    };
    expect_err("open after a send that was dropped", backend.open(&never, 0)).await;
    let receipt = send(backend, "dropped", &bytes).await;
    assert!(read("open", backend.open(&receipt, 0).await).await == bytes, "a send after a dropped one yields what it sent");
}

async fn never_mixes_two_calls(backend: &(impl TransferBackend + ?Sized)) {
    for round in 0..8_u64 {
        let name = format!("both-{round}");
        let (one, other) = (archive(2 * round, 900_000), archive(2 * round + 1, 900_000));
        let named = job(&name, one.len());
        let both = futures_util::future::join(backend.send(&named, streamed(&one)), backend.send(&named, streamed(&other)));
        let (first, second) = within("two sends of one part", both).await;
        assert!(first.is_ok() || second.is_ok(), "of two calls at least one succeeds: {first:?} {second:?}");
        let mut readable = 0;
        for (sent, bytes) in [(first, &one), (second, &other)] {
            let Ok(receipt) = sent else { continue };
            assert!(receipt.digest.is_of(bytes), "each call's receipt is of its own bytes");
            if let Ok(stream) = backend.open(&receipt, 0).await {
                assert!(read("open", Ok(stream)).await == *bytes, "what can be read is one call's bytes, and never a mixture");
                readable += 1;
            }
        }
        assert!(readable > 0, "of two calls that succeed, one has arrived");
    }
}
