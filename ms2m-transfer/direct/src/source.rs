//! [`Source`]: the body of a call, digested on its way; [`Window`]: what of it may have to be sent again.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Hasher, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::wire::{DIGEST_OF_UPLOADS, PIECE_BYTES};

/// Pieces between the body, its digest and the socket.
const PIECES: usize = 2;

/// Bytes, and the digest of everything up to their end.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    after: Hasher,
}

/// Pulls a body and digests it in a thread of its own, so that neither waits for the socket.
#[derive(Debug)]
pub(crate) struct Source {
    pieces: mpsc::Receiver<Result<Piece>>,
    /// Ends with this.
    _pull: JoinSet<()>,
}

impl Source {
    pub(crate) fn new(mut body: ByteStream) -> Self {
        let (to_digest, mut pulled) = mpsc::channel::<Result<Bytes>>(PIECES);
        let (to_socket, pieces) = mpsc::channel(PIECES);
        let mut pull = JoinSet::new();
        pull.spawn(async move {
            while let Some(piece) = body.next().await {
                if to_digest.send(piece).await.is_err() {
                    return;
                }
            }
        });
        pull.spawn_blocking(move || {
            let mut hash = DIGEST_OF_UPLOADS.hasher();
            while let Some(piece) = pulled.blocking_recv() {
                let mut rest = match piece {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let _ = to_socket.blocking_send(Err(error));
                        return;
                    }
                };
                while !rest.is_empty() {
                    let bytes = rest.split_to(rest.len().min(PIECE_BYTES));
                    hash.update(&bytes);
                    if to_socket.blocking_send(Ok(Piece { bytes, after: hash.clone() })).is_err() {
                        return;
                    }
                }
            }
        });
        Self { pieces, _pull: pull }
    }

    /// The next piece; `None` at the end. A call that is dropped loses nothing.
    async fn next(&mut self) -> Option<Result<Piece>> {
        self.pieces.recv().await
    }
}

/// What was pulled and may not have been written at the target.
#[derive(Debug)]
pub(crate) struct Window {
    source: Source,
    archive_bytes: u64,
    pieces: VecDeque<Piece>,
    /// Where the first piece begins, and the digest of everything before.
    start: u64,
    before: Hasher,
    /// Where the last one ends.
    end: u64,
    whole: Option<Digest>,
}

impl Window {
    pub(crate) fn new(body: ByteStream, archive_bytes: u64) -> Self {
        let source = Source::new(body);
        Self { source, archive_bytes, pieces: VecDeque::new(), start: 0, before: DIGEST_OF_UPLOADS.hasher(), end: 0, whole: None }
    }

    /// The first byte that can still be sent.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Behind the last byte that was pulled.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The digest of all bytes, when all have been pulled.
    pub(crate) fn whole(&self) -> Option<Digest> {
        self.whole
    }

    /// Pulls the next piece; `None` at the end, which comes at the announced size and nowhere else. A call that is dropped loses nothing.
    pub(crate) async fn pull(&mut self) -> Result<Option<Bytes>> {
        if self.whole.is_some() {
            return Ok(None);
        }
        let wrong = |bytes: String| {
            let message = format!("the checkpoint has {bytes} bytes instead of the {} that were announced", self.archive_bytes);
            Error::undo(ErrorKind::Corrupt, message)
        };
        let Some(piece) = self.source.next().await.transpose()? else {
            if self.end < self.archive_bytes {
                return Err(wrong(self.end.to_string()));
            }
            self.whole = Some(digest(self.last()));
            return Ok(None);
        };
        let end = self.end + piece.bytes.len() as u64;
        if end > self.archive_bytes {
            return Err(wrong(format!("{end} or more")));
        }
        self.end = end;
        let bytes = piece.bytes.clone();
        self.pieces.push_back(piece);
        Ok(Some(bytes))
    }

    fn last(&self) -> &Hasher {
        self.pieces.back().map_or(&self.before, |piece| &piece.after)
    }

    /// The digest of the first so many bytes, which must lie within.
    pub(crate) fn digest_at(&self, bytes: u64) -> Option<Digest> {
        let mut at = self.start;
        let mut hash = &self.before;
        if bytes < at {
            return None;
        }
        for piece in &self.pieces {
            let next = at + piece.bytes.len() as u64;
            if bytes < next {
                let mut hash = hash.clone();
                hash.update(&piece.bytes[..usize::try_from(bytes - at).ok()?]);
                return Some(digest(&hash));
            }
            (at, hash) = (next, &piece.after);
        }
        (bytes == at).then(|| digest(hash))
    }

    /// The first so many bytes need not be sent again.
    pub(crate) fn forget(&mut self, bytes: u64) {
        while let Some(first) = self.pieces.front()
            && self.start + first.bytes.len() as u64 <= bytes
        {
            self.start += first.bytes.len() as u64;
            if let Some(first) = self.pieces.pop_front() {
                self.before = first.after;
            }
        }
    }

    /// What was pulled, from this byte on.
    pub(crate) fn from(&self, bytes: u64) -> Vec<Bytes> {
        let mut at = self.start;
        let mut rest = Vec::new();
        for piece in &self.pieces {
            let next = at + piece.bytes.len() as u64;
            if bytes < next {
                rest.push(piece.bytes.slice(usize::try_from(bytes.saturating_sub(at)).unwrap_or(0)..));
            }
            at = next;
        }
        rest
    }
}

fn digest(hash: &Hasher) -> Digest {
    hash.clone().finalize()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn window(pieces: &[&'static [u8]], archive_bytes: u64) -> Window {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        Window::new(Box::pin(stream::iter(pieces)), archive_bytes)
    }

    #[tokio::test]
    async fn it_keeps_what_is_not_forgotten_and_knows_every_digest_in_it() {
        let mut window = window(&[b"abc", b"", b"defg", b"h"], 8);
        while window.pull().await.unwrap().is_some() {}
        assert_eq!((window.start(), window.end(), window.whole()), (0, 8, Some(DIGEST_OF_UPLOADS.of(b"abcdefgh"))));
        window.forget(6);
        assert_eq!(window.start(), 3, "a piece stays as long as a byte of it may be needed");
        for at in 3..=8 {
            assert_eq!(window.digest_at(at), Some(DIGEST_OF_UPLOADS.of(&b"abcdefgh"[..at as usize])), "{at}");
            assert_eq!(window.from(at).concat(), b"abcdefgh"[at as usize..], "{at}");
        }
        assert_eq!((window.digest_at(2), window.digest_at(9)), (None, None));
        window.forget(8);
        assert_eq!((window.start(), window.digest_at(8)), (8, Some(DIGEST_OF_UPLOADS.of(b"abcdefgh"))));
    }

    #[tokio::test]
    async fn it_ends_at_the_announced_size_only() {
        for (announced, what) in [(2, "too long"), (4, "too short")] {
            let mut window = window(&[b"abc"], announced);
            let error = async {
                loop {
                    if window.pull().await?.is_none() {
                        return Ok::<_, Error>(());
                    }
                }
            };
            assert_eq!(error.await.expect_err(what).kind(), ErrorKind::Corrupt, "{what}");
        }
    }
}
