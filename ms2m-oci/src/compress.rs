//! Compression on the way: two digests and one read, each in a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::sync_channel;
use std::thread;

use ms2m_core::DigestAlgorithm;
use zstd::Encoder;

use crate::error::{OciError, Result};
use crate::hashing::Hashing;
use crate::image::{Layer, LayerKind};
use crate::pass::{Archive, Piece, Progress};

/// zstd's own default: what memory gives and the link takes are in balance.
const LEVEL: i32 = 3;
/// Pieces between the digest and the compression.
const PIECES: usize = 4;

/// How the layer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// As it stands: nothing is copied where the file system can link.
    #[default]
    None,
    /// zstd.
    Zstd,
}

/// Writes `archive` to `sink`, compressed.
pub(crate) fn compress(archive: &Archive, sink: &File, progress: Progress<'_>) -> Result<Layer> {
    let failed = |source| OciError::Io { what: "compressing the archive".into(), source };
    let (plain, compressed) = thread::scope(|scope| {
        let (sender, pieces) = sync_channel::<Piece>(PIECES);
        let compressor = scope.spawn(move || -> io::Result<Hashing<BufWriter<&File>>> {
            let mut encoder = Encoder::new(Hashing::new(BufWriter::with_capacity(256 << 10, sink)), LEVEL)?;
            encoder.set_pledged_src_size(Some(archive.bytes))?;
            encoder.include_checksum(false)?;
            for piece in pieces {
                piece.write(&mut encoder)?;
            }
            let mut hashing = encoder.finish()?;
            hashing.flush()?;
            Ok(hashing)
        });
        let mut hash = DigestAlgorithm::Sha256.hasher();
        let (mut done, mut compressor_gone) = (0, false);
        let read = archive.read(None, |piece| {
            piece.update(&mut hash);
            done += piece.bytes();
            if progress(done).is_break() {
                return Err(OciError::Stopped);
            }
            sender.send(piece).map_err(|_| {
                compressor_gone = true;
                OciError::Stopped
            })
        });
        drop(sender);
        let compressed = compressor.join().unwrap_or_else(|_| Err(io::Error::other("a thread has died")));
        match (read, compressed) {
            // Trouble with the archive is the compressor's too, which then misses bytes; but not the other way round.
            (Err(error), _) if !compressor_gone => Err(error),
            (_, Err(error)) => Err(failed(error)),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(compressed)) => Ok((hash, compressed)),
        }
    })?;
    let (digest, bytes) = compressed.finish();
    Ok(Layer { kind: LayerKind::Zstd, digest, bytes, diff_id: plain.finalize() })
}
