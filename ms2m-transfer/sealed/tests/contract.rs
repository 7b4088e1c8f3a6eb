//! The contract of a transfer, sealed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ErrorKind, MigrationId, Part, TransferBackend, TransferJob};
use ms2m_testkit::memory_transfer::pieces;
use ms2m_testkit::{MemoryTransfer, conformance};
use ms2m_transfer_sealed::{Key, Sealed};
use ms2m_transfer_shared_volume::SharedVolume;
use proptest::prelude::*;

fn job(bytes: usize) -> TransferJob {
    let migration = MigrationId::new("sealed").unwrap();
    TransferJob { migration, part: Part::Final, archive_bytes: bytes as u64, deadline: Duration::from_secs(30) }
}

#[tokio::test]
async fn over_memory() {
    conformance::transfer(async || Arc::new(Sealed::with_key(Arc::new(MemoryTransfer::new(64 << 20)), Key::generate()))).await;
}

#[tokio::test]
async fn over_a_shared_volume() {
    let directory = tempfile::tempdir().unwrap();
    let shared = Arc::new(SharedVolume::new(directory.path().join("shared")));
    conformance::transfer(async || Arc::new(Sealed::with_key(shared.clone(), Key::generate()))).await;
}

#[tokio::test]
async fn nothing_of_the_checkpoint_is_in_what_the_backend_holds() {
    let directory = tempfile::tempdir().unwrap();
    let shared = Arc::new(SharedVolume::new(directory.path()));
    let sealed = Sealed::for_target(shared, Key::generate().recipient());
    let secret = b"the password of everything";
    let plain = Bytes::from(secret.repeat(10_000));
    let receipt = sealed.send(&job(plain.len()), pieces(plain.clone())).await.unwrap();
    assert!(receipt.digest.is_of(&plain));
    let file = directory.path().join("sealed").read_dir().unwrap().next().unwrap().unwrap().path();
    let stored = std::fs::read(file).unwrap();
    assert!(stored.len() > plain.len() && receipt.transferred_bytes == stored.len() as u64);
    assert!(!stored.windows(8).any(|window| window == &secret[..8]));
    // And it was never the same twice.
    let again = sealed.send(&job(plain.len()), pieces(plain)).await.unwrap();
    assert!(again.digest == receipt.digest && again.location != receipt.location);
}

#[tokio::test]
async fn only_the_target_reads_it() {
    let shared = Arc::new(MemoryTransfer::default());
    let target = Key::generate();
    let source = Sealed::for_target(shared.clone(), target.recipient());
    let plain = Bytes::from_static(b"state");
    let receipt = source.send(&job(plain.len()), pieces(plain.clone())).await.unwrap();
    for other in [source, Sealed::with_key(shared.clone(), Key::generate())] {
        let error = other.open(&receipt, 0).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    }
    let mut read = Sealed::with_key(shared, target).open(&receipt, 0).await.unwrap();
    assert_eq!(read.next().await.unwrap().unwrap(), plain);
    assert!(read.next().await.is_none());
}

/// A thread that waits for a body that never comes does not outlive the call, or the runtime could not end.
#[test]
fn a_stalled_body_keeps_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sealed = Sealed::with_key(Arc::new(MemoryTransfer::default()), Key::generate());
    let hurried = TransferJob { deadline: Duration::from_millis(50), ..job(10) };
    let error = runtime.block_on(sealed.send(&hurried, Box::pin(stream::pending()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(runtime);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Around the borders of chunks and pieces, from any offset.
    #[test]
    fn any_length_from_any_offset(chunks in 0_usize..20, more in -2_isize..3, offsets in proptest::collection::vec(0.0_f64..=1.0, 3)) {
        let bytes = (chunks * (64 << 10)).saturating_add_signed(more);
        let plain: Vec<u8> = (0..bytes).map(|at| (at / 3) as u8).collect();
        let plain = Bytes::from(plain);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sealed = Sealed::with_key(Arc::new(MemoryTransfer::default()), Key::generate());
            let receipt = sealed.send(&job(bytes), pieces(plain.clone())).await.unwrap();
            let borders = [0, bytes, 64 << 10, (64 << 10) - 1, bytes.saturating_sub(1), 1 << 20].map(|at| at.min(bytes));
            for offset in offsets.iter().map(|part| (bytes as f64 * part) as usize).chain(borders) {
                let read: Vec<_> = sealed.open(&receipt, offset as u64).await.unwrap().map(Result::unwrap).collect().await;
                assert!(read.concat() == plain[offset..], "{bytes} bytes from {offset}");
            }
        });
    }
}
