//! A transfer that keeps checkpoints in memory.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use ms2m_core::{
    ByteStream, Digest, Error, ErrorKind, MigrationId, Part, Receipt, Result, TransferBackend, TransferCapability, TransferJob,
};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

/// Largest piece that [`pieces`] yields.
pub const PIECE_BYTES: usize = 512 << 10;

/// Bytes as a stream of pieces of constant size, without copying them.
#[must_use]
pub fn pieces(bytes: Bytes) -> ByteStream {
    Box::pin(Pieces(bytes))
}

struct Pieces(Bytes);

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let length = self.0.len().min(PIECE_BYTES);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}

/// Source and target in one process. Holds at most so many bytes at any time, arriving ones included.
#[derive(Debug)]
pub struct MemoryTransfer {
    held_bytes_max: u64,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    arrived: HashMap<MigrationId, HashMap<Part, (Digest, Vec<Bytes>)>>,
    bytes: u64,
}

impl Held {
    fn remove(&mut self, migration: &MigrationId, part: Part) {
        let Some(parts) = self.arrived.get_mut(migration) else { return };
        if let Some((_, pieces)) = parts.remove(&part) {
            self.bytes -= length(&pieces);
        }
        if parts.is_empty() {
            self.arrived.remove(migration);
        }
    }

    fn remove_all(&mut self, migration: &MigrationId) {
        let parts = self.arrived.remove(migration).unwrap_or_default();
        self.bytes -= parts.values().map(|(_, pieces)| length(pieces)).sum::<u64>();
    }
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Room taken for a checkpoint that is on its way; given back unless it arrives.
struct Room(Arc<Mutex<Held>>, u64);

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.0).bytes -= self.1;
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryTransfer {
    /// An empty store for at most `held_bytes_max` bytes.
    #[must_use]
    pub fn new(held_bytes_max: u64) -> Self {
        Self { held_bytes_max, held: Arc::default() }
    }

    /// Bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        lock(&self.held).bytes
    }

    fn take_room(&self, job: &TransferJob) -> Result<Room> {
        let mut held = lock(&self.held);
        // A repeated call replaces what the first one brought.
        held.remove(&job.migration, job.part);
        if job.archive_bytes > self.held_bytes_max.saturating_sub(held.bytes) {
            let text = format!("no room for {} bytes: {} of {} are taken", job.archive_bytes, held.bytes, self.held_bytes_max);
            return Err(Error::undo(ErrorKind::LimitExceeded, text).with("migration", &job.migration));
        }
        held.bytes += job.archive_bytes;
        Ok(Room(Arc::clone(&self.held), job.archive_bytes))
    }
}

impl Default for MemoryTransfer {
    /// Room for 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

#[async_trait]
impl TransferBackend for MemoryTransfer {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: Some(self.held_bytes_max) }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let mut room = self.take_room(job)?;
        let collected = timeout(job.deadline, collect(job, body)).await;
        let (digest, pieces) = collected
            .map_err(|_| Error::retry(ErrorKind::Timeout, "the transfer did not end in time").with("migration", &job.migration))??;
        let mut held = lock(&self.held);
        // Two concurrent calls for one part: the later one replaces the earlier.
        held.remove(&job.migration, job.part);
        held.arrived.entry(job.migration.clone()).or_default().insert(job.part, (digest, pieces));
        drop(held);
        // The room is the arrived checkpoint's from now on.
        room.1 = 0;
        Ok(Receipt {
            migration: job.migration.clone(),
            part: job.part,
            digest,
            archive_bytes: job.archive_bytes,
            transferred_bytes: job.archive_bytes,
            location: format!("memory:{}/{}", job.migration, job.part),
        })
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let held = lock(&self.held);
        let part = held.arrived.get(&receipt.migration).and_then(|parts| parts.get(&receipt.part));
        let found = part.filter(|(digest, _)| *digest == receipt.digest);
        let (_, arrived) = found.ok_or_else(|| {
            Error::fatal(ErrorKind::NotFound, "no such checkpoint has arrived")
                .with("migration", &receipt.migration)
                .with("part", receipt.part)
                .with("digest", receipt.digest)
        })?;
        let mut skip = offset_bytes;
        let mut rest = Vec::new();
        for piece in arrived {
            let from = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= from as u64;
            rest.push(piece.slice(from..));
        }
        Ok(Box::pin(futures_util::stream::iter(rest).flat_map(pieces)))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        lock(&self.held).remove_all(migration);
        Ok(())
    }
}

async fn collect(job: &TransferJob, mut body: ByteStream) -> Result<(Digest, Vec<Bytes>)> {
    let (mut hash, mut pieces, mut length) = (Sha256::new(), Vec::new(), 0);
    let wrong_length = |length: u64| {
        Error::undo(ErrorKind::Corrupt, format!("{} bytes were announced, {length} came", job.archive_bytes))
            .with("migration", &job.migration)
    };
    while let Some(piece) = body.next().await {
        let piece = piece?;
        length += piece.len() as u64;
        if length > job.archive_bytes {
            return Err(wrong_length(length));
        }
        hash.update(&piece);
        pieces.push(piece);
    }
    if length < job.archive_bytes {
        return Err(wrong_length(length));
    }
    Ok((Digest::from_bytes(hash.finalize().into()), pieces))
}
