//! The one pass over an archive: a thread reads ahead, the caller's digests.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use ms2m_core::{Digest, DigestAlgorithm, Hasher};
use rustix::fs::{Mode, OFlags, SeekFrom, seek};
use rustix::io::Errno;

use crate::error::{OciError, Result, Rule};

/// Small enough to stay in a processor's cache between the thread that reads and the one that digests.
const PIECE_BYTES: usize = 256 << 10;
/// Of a hole, so much is told at once.
const HOLE_BYTES: u64 = 16 << 20;
/// Pieces on their way.
const PIECES: usize = 8;

/// Told how many bytes have been digested; says whether to go on.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// An archive that is open, and what its file was when it was opened.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) file: File,
    pub(crate) bytes: u64,
    path: PathBuf,
    was: (u64, i64, i64),
}

impl Archive {
    /// Opens a plain tar. Links are not followed.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::LOOP => OciError::refuse(Rule::PlainFiles, path.display(), "it is a symbolic link; name the file itself"),
            error => OciError::io("opening", path)(error),
        })?;
        let file = File::from(file);
        let archive = Self::of(file, path)?;
        if archive.bytes > bytes_max {
            let reason = format!("it has {} bytes, and a layer at most {bytes_max}", archive.bytes);
            return Err(OciError::refuse(Rule::Limit, path.display(), reason));
        }
        archive.is_plain_tar()?;
        Ok(archive)
    }

    /// Takes what is open already.
    pub(crate) fn of(file: File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(OciError::io("looking at", path))?;
        if !metadata.is_file() {
            return Err(OciError::refuse(Rule::PlainFiles, path.display(), "it is no regular file"));
        }
        Ok(Self { bytes: metadata.len(), was: stamp(&metadata), path: path.to_owned(), file })
    }

    fn is_plain_tar(&self) -> Result<()> {
        let mut block = [0; 512];
        let reason = match self.file.read_exact_at(&mut block, 0) {
            Ok(()) if &block[257..262] == b"ustar" => return Ok(()),
            Ok(()) => match block {
                [0x1f, 0x8b, ..] => "it is compressed with gzip",
                [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd",
                _ => "it does not begin as a tar does",
            },
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it is shorter than a tar can be",
            Err(error) => return Err(OciError::io("reading", &self.path)(error)),
        };
        Err(OciError::refuse(Rule::PlainTar, self.path.display(), reason))
    }

    /// Whether nobody has written to the file since it was opened, as far as its size and time tell.
    pub(crate) fn unchanged(&self) -> Result<()> {
        let now = stamp(&self.file.metadata().map_err(OciError::io("looking at", &self.path))?);
        if now == self.was { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> OciError {
        OciError::Changed { path: self.path.display().to_string() }
    }

    /// Its digest. What is digested is also written to `copy`, if there is one, holes as holes.
    pub(crate) fn digest(&self, copy: Option<&File>, progress: Progress<'_>) -> Result<Digest> {
        let mut hash = DigestAlgorithm::Sha256.hasher();
        let mut done = 0;
        self.read(copy, |piece| {
            piece.update(&mut hash);
            done += piece.bytes();
            if progress(done).is_break() { Err(OciError::Stopped) } else { Ok(()) }
        })?;
        Ok(hash.finalize())
    }

    /// Hands all pieces to `take`, in order.
    pub(crate) fn read(&self, copy: Option<&File>, mut take: impl FnMut(Piece) -> Result<()>) -> Result<()> {
        thread::scope(|scope| {
            let (full, pieces) = sync_channel(PIECES);
            let (empty, buffers) = sync_channel(PIECES);
            for _ in 0..PIECES {
                // There is room for all of them.
                let _ = empty.send(vec![0; PIECE_BYTES]);
            }
            let ahead = Ahead { archive: self, copy, full, buffers, empty: empty.clone() };
            scope.spawn(move || ahead.run());
            drop(empty);
            for piece in pieces {
                take(piece?)?;
            }
            Ok(())
        })
    }
}

fn stamp(metadata: &std::fs::Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// A part of an archive.
pub(crate) enum Piece {
    Data(Buffer),
    /// So many zeros that are not stored.
    Hole(u64),
}

impl Piece {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Data(buffer) => buffer.filled as u64,
            Self::Hole(bytes) => *bytes,
        }
    }

    pub(crate) fn update(&self, hash: &mut Hasher) {
        // Without an error there is none.
        let _ = self.write(&mut Hashed(hash));
    }

    pub(crate) fn write(&self, sink: &mut impl io::Write) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        match self {
            Self::Data(buffer) => sink.write_all(&buffer.bytes[..buffer.filled]),
            Self::Hole(bytes) => {
                let mut left = *bytes;
                while left > 0 {
                    let step = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                    sink.write_all(&ZEROS[..step])?;
                    left -= step as u64;
                }
                Ok(())
            }
        }
    }
}

struct Hashed<'a>(&'a mut Hasher);

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A buffer that goes back to be filled again.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    home: SyncSender<Vec<u8>>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Nobody is there any more once everything was read.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// The thread that reads ahead. It ends when nobody takes its pieces any more.
struct Ahead<'a> {
    archive: &'a Archive,
    copy: Option<&'a File>,
    full: SyncSender<Result<Piece>>,
    buffers: Receiver<Vec<u8>>,
    empty: SyncSender<Vec<u8>>,
}

impl Ahead<'_> {
    fn run(self) {
        let end = self.archive.bytes;
        let mut at = 0;
        while at < end {
            let (data, hole) = extent(&self.archive.file, at, end);
            // In steps: whoever listens may want to stop.
            while at < data {
                let step = (data - at).min(HOLE_BYTES);
                if self.full.send(Ok(Piece::Hole(step))).is_err() {
                    return;
                }
                at += step;
            }
            while at < hole {
                let piece = self.piece(at, hole);
                let bytes = piece.as_ref().map_or(0, Piece::bytes);
                if self.full.send(piece).is_err() || bytes == 0 {
                    return;
                }
                at += bytes;
            }
        }
        if let Some(copy) = self.copy {
            let sized = copy.set_len(end).map_err(OciError::io("writing the copy of", &self.archive.path));
            if let Err(error) = sized {
                let _ = self.full.send(Err(error));
            }
        }
    }

    fn piece(&self, at: u64, end: u64) -> Result<Piece> {
        let Ok(mut bytes) = self.buffers.recv() else { return Err(OciError::Stopped) };
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
        let filled = self.archive.file.read_at(&mut bytes[..most], at).map_err(OciError::io("reading", &self.archive.path))?;
        if filled == 0 {
            return Err(self.archive.changed());
        }
        if let Some(copy) = self.copy {
            copy.write_all_at(&bytes[..filled], at).map_err(OciError::io("writing the copy of", &self.archive.path))?;
        }
        Ok(Piece::Data(Buffer { bytes, filled, home: self.empty.clone() }))
    }
}

/// Where data begins from `at` on, and where it ends. A file system that does not know of holes has none.
fn extent(file: &File, at: u64, end: u64) -> (u64, u64) {
    let data = match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(end),
        // Nothing but a hole up to the end.
        Err(Errno::NXIO) => return (end, end),
        Err(_) => return (at, end),
    };
    let hole = seek(file, SeekFrom::Hole(data)).map_or(end, |hole| hole.min(end));
    // Whatever a file system says: there is progress.
    (data, if hole > data { hole } else { end })
}
