//! A thread that computes a digest beside everything else.

use bytes::Bytes;
use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind};
use tokio::sync::mpsc::{self, Permit};
use tokio::task::JoinHandle;

use crate::fault::Fault;

/// Pieces it may be behind.
const PIECES: usize = 2;

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Hash {
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<Digest>,
}

impl Hash {
    pub(crate) fn new() -> Self {
        let (pieces, mut receiver) = mpsc::channel::<Bytes>(PIECES);
        let thread = tokio::task::spawn_blocking(move || {
            let mut hash = DigestAlgorithm::Sha256.hasher();
            while let Some(piece) = receiver.blocking_recv() {
                hash.update(&piece);
            }
            hash.finalize()
        });
        Self { pieces, thread }
    }

    /// Room for one piece. Dropping the future loses nothing.
    pub(crate) async fn room(&self) -> Result<Permit<'_, Bytes>, Fault> {
        self.pieces.reserve().await.map_err(|_| died(None))
    }

    pub(crate) async fn finish(self) -> Result<Digest, Fault> {
        drop(self.pieces);
        self.thread.await.map_err(|error| died(Some(error)))
    }
}

fn died(error: Option<tokio::task::JoinError>) -> Fault {
    let told = Error::undo(ErrorKind::Other, "a thread has died");
    Fault::Ours(match error {
        Some(error) => told.caused_by(error),
        None => told,
    })
}
