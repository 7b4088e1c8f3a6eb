//! Out of plain bytes, ciphertext: a thread of its own digests and encrypts.

use std::future::Future;
use std::io::{self, Write};
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use age::Encryptor;
use age::stream::StreamWriter;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, DigestAlgorithm, Error, ErrorKind, Hasher, Result, TransferJob};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::backend::{HEADER_BYTES_MAX, payload_bytes};
use crate::keys::Recipient;

/// Pieces between this thread and whoever sends them.
const PIECES: usize = 4;
/// Ciphertext is handed on when there is so much of it.
const PIECE_BYTES: usize = 512 << 10;
/// Of the body, at most so much is encrypted before it is handed on.
const SLICE_BYTES: usize = 1 << 20;

/// A part that is being sealed.
pub(crate) struct Sealing<D> {
    /// The ciphertext.
    pub(crate) stream: ByteStream,
    pub(crate) cipher_bytes: u64,
    pub(crate) header: Digest,
    pub(crate) header_bytes: usize,
    /// Of the plain bytes, once the stream has ended.
    pub(crate) digest: D,
}

/// Makes the part's key. Nothing of the body is read before the stream is.
pub(crate) fn begin(
    recipient: &Recipient,
    job: &TransferJob,
    body: ByteStream,
) -> Result<Sealing<impl Future<Output = Result<Digest>> + use<>>> {
    let failed = |error: io::Error| Error::undo(ErrorKind::Other, "the checkpoint cannot be encrypted").caused_by(error);
    let written = Written::default();
    let encryptor = Encryptor::with_recipients(iter::once(recipient.age() as _))
        .map_err(|error| Error::undo(ErrorKind::Other, "the checkpoint cannot be encrypted").caused_by(error))?;
    let writer = encryptor.wrap_output(written.clone()).map_err(failed)?;
    let header = written.take();
    if header.len() > HEADER_BYTES_MAX {
        return Err(Error::undo(ErrorKind::Invariant, format!("a header of {} bytes was made; report it", header.len())));
    }
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let (header_digest, header_bytes) = (Digest::of(&header), header.len());
    let (archive_bytes, runtime) = (job.archive_bytes, Handle::current());
    let thread = tokio::task::spawn_blocking(move || {
        let encryption = Encryption { writer, written, sender, digest: DigestAlgorithm::Blake3.hasher(), bytes: 0, archive_bytes };
        encryption.run(&runtime, Bytes::from(header), body)
    });
    Ok(Sealing {
        stream: Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx))),
        cipher_bytes: header_bytes as u64 + payload_bytes(archive_bytes),
        header: header_digest,
        header_bytes,
        digest: async move {
            let done = thread.await.map_err(|error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error))?;
            done.ok_or_else(|| Error::undo(ErrorKind::Invariant, "the transfer ended well before all was encrypted; report it"))
        },
    })
}

struct Encryption {
    writer: StreamWriter<Written>,
    written: Written,
    sender: mpsc::Sender<Result<Bytes>>,
    digest: Hasher,
    bytes: u64,
    archive_bytes: u64,
}

impl Encryption {
    /// The digest of everything; nothing when it broke off. What went wrong has gone down the stream.
    fn run(mut self, runtime: &Handle, header: Bytes, mut body: ByteStream) -> Option<Digest> {
        self.sender.blocking_send(Ok(header)).ok()?;
        loop {
            // A body may stall for ever, and so would this thread when nobody waits for it any more.
            let next = runtime.block_on(async {
                tokio::select! {
                    next = body.next() => Some(next),
                    () = self.sender.closed() => None,
                }
            })?;
            let done = match next {
                Some(piece) => piece.and_then(|piece| self.encrypt(piece)),
                None => return self.finish(),
            };
            if let Err(error) = done {
                let _ = self.sender.blocking_send(Err(error));
                return None;
            }
        }
    }

    fn encrypt(&mut self, mut piece: Bytes) -> Result<()> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.archive_bytes {
            return Err(self.wrong_length());
        }
        while !piece.is_empty() {
            let slice = piece.split_to(piece.len().min(SLICE_BYTES));
            self.digest.update(&slice);
            let failed = |error| Error::undo(ErrorKind::Other, "the checkpoint cannot be encrypted").caused_by(error);
            self.writer.write_all(&slice).map_err(failed)?;
            if self.written.bytes() >= PIECE_BYTES {
                // Whoever has gone says why itself.
                let _ = self.sender.blocking_send(Ok(Bytes::from(self.written.take())));
            }
        }
        Ok(())
    }

    fn finish(self) -> Option<Digest> {
        let wrong_length = (self.bytes != self.archive_bytes).then(|| self.wrong_length());
        let Self { writer, written, sender, digest, .. } = self;
        let last = match wrong_length {
            Some(error) => Err(error),
            None => writer
                .finish()
                .map(|_| Bytes::from(written.take()))
                .map_err(|error| Error::undo(ErrorKind::Other, "the checkpoint cannot be encrypted").caused_by(error)),
        };
        let whole = last.is_ok();
        sender.blocking_send(last).ok()?;
        whole.then(|| digest.finalize())
    }

    fn wrong_length(&self) -> Error {
        let message = format!("the checkpoint has {} bytes instead of the {} that were announced", self.bytes, self.archive_bytes);
        Error::undo(ErrorKind::Corrupt, message)
    }
}

/// What the encryption has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self) -> Vec<u8> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = held.capacity();
        std::mem::replace(&mut held, Vec::with_capacity(room))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
