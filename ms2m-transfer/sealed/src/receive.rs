//! Out of ciphertext, plain bytes: a thread of its own decrypts and checks.

use std::io::{self, Read, Seek, SeekFrom};
use std::iter;
use std::sync::Arc;

use age::stream::StreamReader;
use age::{DecryptError, Decryptor};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Hasher, Receipt, Result, TransferBackend};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::backend::{CHUNK_BYTES, HEADER_BYTES_MAX};
use crate::keys::Key;
use crate::location::Location;

/// A number of whole chunks.
const PIECE_BYTES: usize = 512 << 10;
/// Pieces that may be decrypted ahead.
const PIECES: usize = 4;

/// The plain bytes from `offset_bytes` on. Every one is authentic when it comes; that none is missing at the end is the last thing checked.
pub(crate) async fn open(
    inner: &Arc<dyn TransferBackend>,
    key: &Key,
    receipt: &Receipt,
    location: &Location,
    offset_bytes: u64,
) -> Result<ByteStream> {
    let inner_receipt = location.inner_receipt(receipt);
    let mut cipher = inner.open(&inner_receipt, 0).await?;
    let (header, rest) = header(&mut cipher, location).await?;
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let source = Ciphertext {
        inner: Arc::clone(inner),
        receipt: inner_receipt,
        runtime: Handle::current(),
        listener: sender.clone(),
        at: 0,
        bytes: location.cipher_bytes,
        piece: [header, rest].concat().into(),
        stream: Some(cipher),
    };
    // The header is in memory already, so nothing is waited for here.
    let reader = Decryptor::new(source).and_then(|decryptor| decryptor.decrypt(iter::once(key.identity() as _))).map_err(refusal)?;
    let mut plain =
        Plain { reader, receipt: receipt.clone(), offset_bytes, digest: (offset_bytes == 0).then(|| receipt.digest.algorithm().hasher()) };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = plain.read(&sender) {
            // Whoever does not listen any more does not want to know.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx))))
}

/// The header, which must be the one that was sent, and what came with it.
async fn header(cipher: &mut ByteStream, location: &Location) -> Result<(Bytes, Bytes)> {
    let mut start = BytesMut::new();
    if location.header_bytes > HEADER_BYTES_MAX {
        return Err(Error::fatal(ErrorKind::Corrupt, "the receipt announces a header that is too long"));
    }
    while start.len() < location.header_bytes {
        match cipher.next().await {
            Some(piece) => start.extend_from_slice(&piece?),
            None => return Err(corrupt("it ends within its header")),
        }
    }
    let header = start.split_to(location.header_bytes).freeze();
    if Digest::of(&header) != location.header {
        return Err(corrupt("its header is not the one that was sent"));
    }
    Ok((header, start.freeze()))
}

fn corrupt(why: &str) -> Error {
    Error::undo(ErrorKind::Corrupt, format!("the encrypted checkpoint has changed on its way: {why}; migrate again"))
}

fn refusal(error: DecryptError) -> Error {
    match error {
        DecryptError::NoMatchingKeys => Error::fatal(
            ErrorKind::Unauthorized,
            "the checkpoint is encrypted for another target; open it with the key that it was sent to",
        ),
        DecryptError::Io(error) => broken(error),
        other => corrupt(&other.to_string()),
    }
}

/// What an error of the decryption means: the inner backend's own one, or a lie in the ciphertext.
fn broken(error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
        return inner.map_or_else(|| corrupt("its source broke off"), |inner| *inner);
    }
    corrupt(&error.to_string())
}

/// The thread that decrypts.
struct Plain {
    reader: StreamReader<Ciphertext>,
    receipt: Receipt,
    offset_bytes: u64,
    digest: Option<Hasher>,
}

impl Plain {
    fn read(&mut self, sender: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let Some(mut left) = self.receipt.archive_bytes.checked_sub(self.offset_bytes).filter(|left| *left > 0 || self.offset_bytes == 0)
        else {
            return Ok(());
        };
        self.seek().map_err(broken)?;
        // One piece stays here until the next one, or the end, has turned out well: the last byte never comes before the last check.
        let mut held: Option<Bytes> = None;
        loop {
            let mut piece = BytesMut::zeroed(PIECE_BYTES);
            let mut filled = 0;
            while filled < PIECE_BYTES {
                match self.reader.read(&mut piece[filled..]).map_err(broken)? {
                    0 => break,
                    bytes => filled += bytes,
                }
            }
            piece.truncate(filled);
            left = left.checked_sub(filled as u64).ok_or_else(|| corrupt("it holds more than was sent"))?;
            if let Some(digest) = &mut self.digest {
                digest.update(&piece);
            }
            let ended = filled < PIECE_BYTES;
            if ended {
                self.check(left)?;
            }
            for ready in [held.take(), ended.then(|| piece.clone().freeze())].into_iter().flatten() {
                if !ready.is_empty() && sender.blocking_send(Ok(ready)).is_err() {
                    return Ok(());
                }
            }
            if ended {
                return Ok(());
            }
            held = Some(piece.freeze());
        }
    }

    fn seek(&mut self) -> io::Result<()> {
        if self.offset_bytes == 0 {
            return Ok(());
        }
        // At the border of a chunk the reader would look for the end first: one byte before it does not.
        let back = u64::from(self.offset_bytes.is_multiple_of(CHUNK_BYTES));
        self.reader.seek(SeekFrom::Start(self.offset_bytes - back))?;
        self.reader.read_exact(&mut [0][..usize::from(back == 1)])
    }

    fn check(&mut self, left: u64) -> Result<()> {
        if left > 0 {
            return Err(corrupt("it holds less than was sent"));
        }
        let found = self.digest.take().map(|digest| digest.finalize());
        match found.filter(|found| *found != self.receipt.digest) {
            Some(found) => Err(corrupt("its digest is another").with("expected", self.receipt.digest).with("found", found)),
            None => Ok(()),
        }
    }
}

/// The inner backend's bytes, as the decryption wants them.
struct Ciphertext {
    inner: Arc<dyn TransferBackend>,
    receipt: Receipt,
    runtime: Handle,
    listener: mpsc::Sender<Result<Bytes>>,
    at: u64,
    bytes: u64,
    piece: Bytes,
    stream: Option<ByteStream>,
}

impl Ciphertext {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.inner.open(&self.receipt, self.at).await?,
        };
        let next = stream.next().await.transpose();
        self.stream = Some(stream);
        next
    }
}

impl Read for Ciphertext {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let (runtime, listener) = (self.runtime.clone(), self.listener.clone());
            let next = runtime.block_on(async {
                tokio::select! {
                    next = self.next() => next,
                    () = listener.closed() => Err(Error::undo(ErrorKind::Cancelled, "nobody reads the checkpoint any more")),
                }
            });
            match next.map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let bytes = self.piece.len().min(buf.len());
        self.piece.copy_to_slice(&mut buf[..bytes]);
        self.at += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for Ciphertext {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to != self.at {
            (self.at, self.piece, self.stream) = (to, Bytes::new(), None);
        }
        Ok(to)
    }
}
