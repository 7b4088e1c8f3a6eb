//! The contracts of the core's traits as suites. Each panics with the clause that is violated.
//!
//! Implementations run them in their own tests, with a fresh subject for each case:
//!
//! ```
//! # use std::sync::Arc;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use ms2m_testkit::{MemoryTransfer, conformance};
//!
//! conformance::transfer(async || Arc::new(MemoryTransfer::default())).await;
//! # }
//! ```

mod checkpoint;
mod replay;
mod restore;
mod transfer;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use ms2m_core::{ByteStream, Error, MigrationId, Result};
use tokio::time::timeout;

pub use checkpoint::{CheckpointSubject, checkpoint};
pub use replay::{ReplaySubject, replay};
pub use restore::{RestoreSubject, restore};
pub use transfer::transfer;

/// No call of a suite may take longer, whatever deadline it was given.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest piece of a stream that is still memory of constant size.
const PIECE_BYTES_MAX: usize = 4 << 20;

fn migration(name: &str) -> MigrationId {
    MigrationId::new(name).expect("a suite's own name")
}

async fn within<R>(what: &str, call: impl Future<Output = R>) -> R {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| panic!("{what} did not end within {PATIENCE:?}"))
}

async fn expect<R>(what: &str, call: impl Future<Output = Result<R>>) -> R {
    within(what, call).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

async fn expect_err<R>(what: &str, call: impl Future<Output = Result<R>>) -> Error {
    match within(what, call).await {
        Ok(_) => panic!("{what} must be an error"),
        Err(error) => error,
    }
}

/// Everything a stream yields, in pieces of bounded size.
async fn read(what: &str, stream: Result<ByteStream>) -> Vec<u8> {
    let mut stream = stream.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let mut all = Vec::new();
    within(what, async {
        while let Some(piece) = stream.next().await {
            let piece: Bytes = piece.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert!(piece.len() <= PIECE_BYTES_MAX, "{what}: a piece of {} bytes, memory must not depend on the size", piece.len());
            all.extend_from_slice(&piece);
        }
    })
    .await;
    all
}
