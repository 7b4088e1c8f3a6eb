//! A file as the body of a transfer.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use futures_util::stream;
use indicatif::ProgressBar;
use ms2m_core::{ByteStream, Error, ErrorKind, Result};
use tokio::sync::mpsc;

const PIECE_BYTES: usize = 512 << 10;
/// Pieces that may be read ahead.
const PIECES: usize = 2;
/// Buffers that are kept: more than any backend has of them at a time.
const BUFFERS: usize = 64;

/// A regular file and its size when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    path: PathBuf,
    pub(super) bytes: u64,
}

impl Archive {
    pub(super) fn find(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(failed(path))?;
        if !metadata.is_file() {
            return Err(Error::fatal(ErrorKind::Invalid, "this is no file; name a checkpoint archive").with("path", path.display()));
        }
        Ok(Self { path: path.to_owned(), bytes: metadata.len() })
    }

    /// Its bytes, read on a thread of their own; `bar` follows them.
    pub(super) fn stream(&self, bar: ProgressBar) -> Result<ByteStream> {
        let mut file = File::open(&self.path).map_err(failed(&self.path))?;
        let (sender, mut receiver) = mpsc::channel(PIECES);
        let buffers = Buffers::new();
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                let piece = buffers.read(&mut file).map_err(failed(&path));
                match &piece {
                    Ok(piece) if piece.is_empty() => return,
                    Ok(piece) => bar.inc(piece.len() as u64),
                    Err(_) => {}
                }
                let broken = piece.is_err();
                if sender.blocking_send(piece).is_err() || broken {
                    return;
                }
            }
        });
        Ok(Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context))))
    }
}

/// Go round, so that how much memory is held does not depend on when an allocator gives back what another thread has freed.
struct Buffers {
    home: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Buffers {
    fn new() -> Self {
        let (home, free) = sync_channel(BUFFERS);
        Self { home, free }
    }

    fn read(&self, file: &mut File) -> std::io::Result<Bytes> {
        let mut buffer = self.free.try_recv().unwrap_or_else(|_| vec![0; PIECE_BYTES]);
        let filled = file.read(&mut buffer)?;
        Ok(Bytes::from_owner(Piece { buffer, filled, home: self.home.clone() }))
    }
}

struct Piece {
    buffer: Vec<u8>,
    filled: usize,
    home: SyncSender<Vec<u8>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Nobody is there any more once everything was read.
        let _ = self.home.try_send(std::mem::take(&mut self.buffer));
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Other };
        Error::fatal(kind, "the archive cannot be read").with("path", path).caused_by(error)
    }
}
