//! Between the blocking world of files and [`ByteStream`].

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Weak};

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

/// Whether somebody still waits for what a thread works on.
#[derive(Debug)]
pub(super) struct Awaited(Weak<()>);

impl Awaited {
    /// Ends with an error as soon as nobody waits any more.
    pub(super) fn guard<I: Input>(self, inner: I) -> impl Input {
        Guarded { inner, awaited: self }
    }
}

struct Guarded<I> {
    inner: I,
    awaited: Awaited,
}

impl<I: Input> Read for Guarded<I> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl<I: Input> BufRead for Guarded<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.awaited.0.strong_count() == 0 {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<I: Input> Input for Guarded<I> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.inner.skip(bytes)
    }
}

/// Does `work` on a thread of its own. It is told when this future is dropped.
pub(super) async fn while_awaited<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce(Awaited) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let here = Arc::new(());
    let awaited = Awaited(Arc::downgrade(&here));
    let done = tokio::task::spawn_blocking(move || work(awaited)).await;
    drop(here);
    done.map_err(|error| ArchiveError::io(what, io::Error::other(error)))?
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_not_waited_for_reads_no_further() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, mut told) = mpsc::channel(2);
        let mut work = Box::pin(while_awaited("", move |awaited| {
            let mut input = awaited.guard(&b"abc"[..]);
            tell.blocking_send(input.fill_buf().is_ok()).unwrap();
            wait.recv().unwrap();
            tell.blocking_send(input.fill_buf().is_ok()).unwrap();
            Ok(())
        }));
        assert!(futures_util::poll!(&mut work).is_pending());
        assert_eq!(told.recv().await, Some(true));
        drop(work);
        go.send(()).unwrap();
        assert_eq!(told.recv().await, Some(false));
    }
}
