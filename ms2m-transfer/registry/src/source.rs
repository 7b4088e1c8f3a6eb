//! The bytes to send: read once, digested while they pass, and the last of them kept for a connection that breaks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind};

use crate::fault::Fault;
use crate::hash::Hash;

/// How far one can go back. What a broken connection had on its way is less: the socket buffers of both sides.
pub(crate) const WINDOW_BYTES: u64 = 8 << 20;
/// Smaller pieces are put together, so that neither the window nor the network is full of crumbs.
const PIECE_BYTES_MIN: usize = 256 << 10;

/// A body on its way. Every method can be dropped and called again.
pub(crate) struct Source {
    body: ByteStream,
    announced_bytes: u64,
    hash: Hash,
    /// Crumbs.
    gathered: BytesMut,
    window: VecDeque<Bytes>,
    window_bytes: u64,
    /// Where the window begins, and where it ends.
    begin: u64,
    end: u64,
    /// The body has ended where it should.
    whole: bool,
}

impl Source {
    pub(crate) fn new(body: ByteStream, announced_bytes: u64) -> Self {
        Self {
            body,
            announced_bytes,
            hash: Hash::new(),
            gathered: BytesMut::new(),
            window: VecDeque::new(),
            window_bytes: WINDOW_BYTES,
            begin: 0,
            end: 0,
            whole: false,
        }
    }

    /// Whether one can go on from there.
    pub(crate) fn holds(&self, at: u64) -> bool {
        (self.begin..=self.end).contains(&at)
    }

    /// Some bytes from `at` on, which the window must hold; `None` at the end.
    pub(crate) async fn piece(&mut self, at: u64) -> Result<Option<Bytes>, Fault> {
        if at == self.end && !self.read().await? {
            return Ok(None);
        }
        let mut start = self.begin;
        for piece in &self.window {
            let next = start + piece.len() as u64;
            if at < next {
                return Ok(Some(piece.slice(offset(at - start)..)));
            }
            start = next;
        }
        Err(Fault::Ours(Error::undo(ErrorKind::Invariant, "bytes were asked for that have not been read")))
    }

    /// Keeps so many bytes from now on, if that is more.
    pub(crate) fn keep(&mut self, bytes: u64) {
        self.window_bytes = self.window_bytes.max(bytes);
    }

    /// Reads until the window reaches `end` or the body ends.
    pub(crate) async fn fill(&mut self, end: u64) -> Result<(), Fault> {
        while self.end < end && self.read().await? {}
        Ok(())
    }

    /// The digest, when the body has ended where it should.
    pub(crate) async fn finish(mut self) -> Result<Digest, Fault> {
        while self.read().await? {}
        self.hash.finish().await
    }

    /// One more piece into the window; `false` at the end.
    async fn read(&mut self) -> Result<bool, Fault> {
        while !self.whole {
            let room = self.hash.room().await?;
            let wrong = |bytes: u64| {
                let message = format!("the checkpoint has {bytes} bytes instead of the {} that were announced", self.announced_bytes);
                Err(Fault::Ours(Error::undo(ErrorKind::Corrupt, message)))
            };
            let piece = match self.body.next().await.transpose().map_err(Fault::Ours)? {
                Some(piece) => {
                    let bytes = self.end + (self.gathered.len() + piece.len()) as u64;
                    if bytes > self.announced_bytes {
                        return wrong(bytes);
                    }
                    if self.gathered.is_empty() && piece.len() >= PIECE_BYTES_MIN {
                        piece
                    } else {
                        self.gathered.extend_from_slice(&piece);
                        if self.gathered.len() < PIECE_BYTES_MIN {
                            continue;
                        }
                        self.gathered.split().freeze()
                    }
                }
                None => {
                    let bytes = self.end + self.gathered.len() as u64;
                    if bytes != self.announced_bytes {
                        return wrong(bytes);
                    }
                    self.whole = true;
                    self.gathered.split().freeze()
                }
            };
            if piece.is_empty() {
                continue;
            }
            room.send(piece.clone());
            self.end += piece.len() as u64;
            self.window.push_back(piece);
            while self.window.front().is_some_and(|first| self.end - self.begin - first.len() as u64 >= self.window_bytes) {
                self.begin += self.window.pop_front().map_or(0, |first| first.len() as u64);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

fn offset(bytes: u64) -> usize {
    // Within one piece.
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use ms2m_core::Result;

    use super::*;

    fn body(pieces: Vec<Result<Bytes>>) -> ByteStream {
        Box::pin(stream::iter(pieces))
    }

    async fn rest(source: &mut Source, mut at: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = source.piece(at).await.unwrap() {
            at += piece.len() as u64;
            all.extend_from_slice(&piece);
        }
        all
    }

    #[tokio::test]
    async fn what_was_read_can_be_read_again_within_the_window() {
        let all: Vec<u8> = (0..40_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let all = Bytes::from(all);
        let pieces = (0..40).map(|n| Ok(all.slice(n << 20..(n + 1) << 20))).collect();
        let mut source = Source::new(body(pieces), all.len() as u64);
        assert!(rest(&mut source, 0).await == all);
        let back = all.len() as u64 - WINDOW_BYTES;
        assert!(source.holds(back) && source.holds(all.len() as u64));
        assert!(!source.holds(back - (2 << 20)) && !source.holds(all.len() as u64 + 1));
        assert!(rest(&mut source, back + 12_345).await == all[back as usize + 12_345..]);
        assert_eq!(source.finish().await.unwrap(), Digest::of(&all));
    }

    #[tokio::test]
    async fn crumbs_are_put_together() {
        let crumbs = (0..100_000).map(|_| Ok(Bytes::from_static(b"0123456789"))).collect();
        let mut source = Source::new(body(crumbs), 1_000_000);
        source.fill(1).await.unwrap();
        assert!(source.end as usize >= PIECE_BYTES_MIN && source.window.len() == 1);
        let all = rest(&mut source, 0).await;
        assert_eq!(all, b"0123456789".repeat(100_000));
        assert!(source.window.len() <= 4);
        assert_eq!(source.finish().await.unwrap(), Digest::of(&all));
    }
}
