//! A file as the body of a transfer.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use indicatif::ProgressBar;
use ms2m_core::{ByteStream, Error, ErrorKind, Result};
use tokio::sync::mpsc;

const PIECE_BYTES: usize = 1 << 20;
/// Pieces that may be read ahead.
const PIECES: usize = 4;

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
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                let piece = read(&mut file).map_err(failed(&path));
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

fn read(file: &mut File) -> std::io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(PIECE_BYTES);
    let bytes = file.read(&mut piece)?;
    piece.truncate(bytes);
    Ok(piece.freeze())
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Other };
        Error::fatal(kind, "the archive cannot be read").with("path", path).caused_by(error)
    }
}
