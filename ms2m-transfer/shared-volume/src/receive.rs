//! Out of the directory: a thread of its own reads and digests.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Hasher, Result};
use tokio::sync::mpsc;

use crate::backend::failed;

const PIECE_BYTES: usize = 1 << 20;
/// Pieces that may be read ahead.
const PIECES: usize = 4;

/// The bytes of a part from `offset_bytes` on. When a digest is expected, which takes a start at 0, it is checked at the end.
pub(crate) async fn open(path: &Path, expected: Option<Digest>, offset_bytes: u64) -> Result<ByteStream> {
    let (opened, path) = (path.to_owned(), path.to_owned());
    let open = move || -> std::io::Result<File> {
        let mut file = File::open(opened)?;
        file.seek(SeekFrom::Start(offset_bytes))?;
        Ok(file)
    };
    let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
    let file = tokio::task::spawn_blocking(open).await.map_err(died)?.map_err(failed("read", &path))?;
    let (sender, mut receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(file, &path, expected, &sender) {
            // Whoever does not listen any more does not want to know.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx))))
}

fn read(mut file: File, path: &Path, expected: Option<Digest>, sender: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
    let mut digest = expected.map(|expected| expected.algorithm().hasher());
    loop {
        let mut piece = BytesMut::zeroed(PIECE_BYTES);
        let mut filled = 0;
        while filled < PIECE_BYTES {
            match file.read(&mut piece[filled..]).map_err(failed("read", path))? {
                0 => break,
                bytes => filled += bytes,
            }
        }
        piece.truncate(filled);
        if let Some(digest) = &mut digest {
            digest.update(&piece);
        }
        if filled < PIECE_BYTES {
            let found = expected.zip(digest.map(Hasher::finalize));
            if let Some((expected, found)) = found.filter(|(expected, found)| expected != found) {
                let message = "the checkpoint has changed in the shared directory; migrate again";
                return Err(Error::undo(ErrorKind::Corrupt, message).with("expected", expected).with("found", found));
            }
            if filled > 0 {
                let _ = sender.blocking_send(Ok(piece.freeze()));
            }
            return Ok(());
        }
        if sender.blocking_send(Ok(piece.freeze())).is_err() {
            return Ok(());
        }
    }
}
