//! Between the blocking world of files and [`ByteStream`].

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream;
use ms2m_core::{ByteStream, Error};
use tokio::sync::mpsc;

use super::error::ArchiveError;
use super::input::Input;
use super::plan::TarPlan;

/// Pieces under way between the two threads. Of 1 MiB each: enough to hide the other side's hiccups, little to hold.
const PIECES: usize = 4;

impl TarPlan {
    /// The archive's bytes from `offset_bytes` on, in pieces of 1 MiB, read on a thread of their own and at most four pieces ahead.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn stream(&self, offset_bytes: u64) -> ByteStream {
        let mut pieces = self.pieces(offset_bytes);
        let (sender, mut receiver) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces.next_piece().transpose() {
                let failed = piece.is_err();
                let gone = sender.blocking_send(piece.map(Bytes::from).map_err(Error::from)).is_err();
                if failed || gone {
                    return;
                }
            }
        });
        Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))
    }
}

/// A stream's pieces, to be read on a thread that may block.
#[derive(Debug)]
pub(super) struct StreamInput {
    receiver: mpsc::Receiver<Result<Bytes, Error>>,
    piece: Bytes,
}

impl Read for StreamInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let step = have.len().min(buf.len());
        buf[..step].copy_from_slice(&have[..step]);
        self.consume(step);
        Ok(step)
    }
}

impl BufRead for StreamInput {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(ArchiveError::Sender(error))),
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Input for StreamInput {}

/// Feeds `work`, which runs on a thread of its own, with the stream. It ends early when `work` does.
pub(super) async fn feed<T: Send + 'static>(
    mut body: ByteStream,
    work: impl FnOnce(StreamInput) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let worker = tokio::task::spawn_blocking(move || work(StreamInput { receiver, piece: Bytes::new() }));
    while let Some(piece) = body.next().await {
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() || failed {
            break;
        }
    }
    drop(sender);
    worker.await.map_err(|error| ArchiveError::io("extracting the archive", io::Error::other(error)))?
}
