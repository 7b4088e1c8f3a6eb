//! Compression on the way: two digests and one read, each in a thread of its own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::sync_channel;
use std::thread;

use ms2m_core::Sha256;
use zstd::Encoder;

use crate::error::{OciError, Result};
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
        let compressor = scope.spawn(move || -> io::Result<Counted<BufWriter<&File>>> {
            let mut encoder = Encoder::new(Counted::new(BufWriter::with_capacity(256 << 10, sink)), LEVEL)?;
            encoder.set_pledged_src_size(Some(archive.bytes))?;
            encoder.include_checksum(false)?;
            for piece in pieces {
                piece.write(&mut encoder)?;
            }
            let mut counted = encoder.finish()?;
            counted.flush()?;
            Ok(counted)
        });
        let mut hash = Sha256::new();
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
    Ok(Layer { kind: LayerKind::Zstd, digest: compressed.hash.finalize(), bytes: compressed.bytes, diff_id: plain.finalize() })
}

/// Digests and counts what passes.
struct Counted<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Counted<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
