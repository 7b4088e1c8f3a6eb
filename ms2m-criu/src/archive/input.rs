//! Where an archive's bytes come from: a file, a stream, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::error::{ArchiveError, Result, Rule};
use super::limits::Limits;

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of an archive.
pub trait Input: BufRead {
    /// Leaves out `bytes`. The default reads them; an input that can seek may go beyond its end, which the next read shows.
    ///
    /// # Errors
    /// When the input cannot be read, or ends before.
    fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            let have = self.fill_buf()?.len();
            if have == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = usize::try_from(bytes).unwrap_or(usize::MAX).min(have);
            self.consume(step);
            bytes -= step as u64;
        }
        Ok(())
    }
}

impl Input for &[u8] {}
impl<T: AsRef<[u8]>> Input for io::Cursor<T> {}
impl<T: Input + ?Sized> Input for Box<T> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        (**self).skip(bytes)
    }
}

/// How an archive is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// It is a plain tar.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// By the first bytes.
    ///
    /// # Errors
    /// [`Rule::Compression`] when they are of another compression that is known, but not read.
    pub fn detect(start: &[u8]) -> Result<Self> {
        let other = match start {
            [0x1f, 0x8b, ..] => return Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
            [b'B', b'Z', b'h', ..] => "bzip2",
            [0x04, 0x22, 0x4d, 0x18, ..] => "lz4",
            _ => return Ok(Self::None),
        };
        Err(ArchiveError::refuse(Rule::Compression, "", format!("it is compressed with {other}, which is not read here")))
    }
}

/// A file whose unwanted parts are never read.
#[derive(Debug)]
pub struct FileInput {
    inner: BufReader<File>,
}

impl FileInput {
    /// Reads `file` from where it stands.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { inner: BufReader::with_capacity(PIECE_BYTES, file) }
    }
}

impl Read for FileInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

impl BufRead for FileInput {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl Input for FileInput {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.inner.seek_relative(i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?)
    }
}

/// Plain bytes from anywhere.
#[derive(Debug)]
pub struct PlainInput<R>(BufReader<R>);

impl<R: Read> PlainInput<R> {
    /// Reads `inner` from where it stands.
    #[must_use]
    pub fn new(inner: R) -> Self {
        Self(BufReader::with_capacity(PIECE_BYTES, inner))
    }
}

impl<R: Read> Read for PlainInput<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read> BufRead for PlainInput<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl<R: Read> Input for PlainInput<R> {}

/// Decompressed data, held against what it came from.
struct Bounded<D> {
    decoder: D,
    out: u64,
    compressed: std::rc::Rc<std::cell::Cell<u64>>,
    limits: Limits,
}

impl<D: Read> Read for Bounded<D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => refused(Rule::Complete, "its compressed data ends before its time".into()),
            _ => refused(Rule::Compression, format!("its compressed data is damaged: {error}")),
        })?;
        self.out += read as u64;
        if self.out > self.limits.ratio_free_bytes && self.out / self.compressed.get().max(1) > self.limits.ratio {
            return Err(refused(Rule::CompressionRatio, format!("it grows more than {}-fold", self.limits.ratio)));
        }
        Ok(read)
    }
}

/// Carries a refusal through `Read`; [`unwrap_refusal`] takes it out.
fn refused(rule: Rule, reason: String) -> io::Error {
    io::Error::other(ArchiveError::refuse(rule, "", reason))
}

/// What an input's error means.
pub(super) fn unwrap_refusal(error: io::Error, what: &str) -> ArchiveError {
    if error.get_ref().is_some_and(|inner| inner.is::<ArchiveError>()) {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<ArchiveError>().ok());
        return inner.map_or_else(|| ArchiveError::io(what, io::ErrorKind::Other), |inner| *inner);
    }
    ArchiveError::io(what, error)
}

/// Counts what a decoder takes.
struct Counted<R> {
    inner: R,
    taken: std::rc::Rc<std::cell::Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken.set(self.taken.get() + amount as u64);
        self.inner.consume(amount);
    }
}

/// Decompressed bytes of an archive.
struct Decompressed(BufReader<Box<dyn Read>>);

impl Read for Decompressed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl BufRead for Decompressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Input for Decompressed {}

/// An archive whose compression has been found out.
pub struct OpenInput {
    /// How it is compressed.
    pub compression: Compression,
    /// Its plain bytes.
    pub input: Box<dyn Input>,
}

impl std::fmt::Debug for OpenInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenInput").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl OpenInput {
    /// Finds out how `input` is compressed, and undoes it within `limits`.
    ///
    /// # Errors
    /// When it cannot be read, or is compressed in a way that is not read here.
    pub fn new(mut input: impl Input + 'static, limits: &Limits) -> Result<Self> {
        let start = input.fill_buf().map_err(|error| unwrap_refusal(error, "reading the archive"))?;
        let compression = Compression::detect(start)?;
        if compression == Compression::None {
            return Ok(Self { compression, input: Box::new(input) });
        }
        let compressed = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = Counted { inner: input, taken: compressed.clone() };
        let decoder: Box<dyn Read> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
            _ => {
                let begin = |error| ArchiveError::io("beginning to decompress with zstd", error);
                let mut decoder = zstd::Decoder::with_buffer(counted).map_err(begin)?;
                decoder.window_log_max(limits.window_log).map_err(begin)?;
                Box::new(decoder)
            }
        };
        let bounded: Box<dyn Read> = Box::new(Bounded { decoder, out: 0, compressed, limits: *limits });
        Ok(Self { compression, input: Box::new(Decompressed(BufReader::with_capacity(256 << 10, bounded))) })
    }
}

/// Opens an archive in a file. Symbolic links are not followed.
///
/// # Errors
/// When the file cannot be opened, is no regular file, or is compressed in a way that is not read here.
pub fn open(path: &Path, limits: &Limits) -> Result<OpenInput> {
    let what = || format!("opening {}", path.display());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| ArchiveError::io(what(), error))?);
    let metadata = file.metadata().map_err(|error| ArchiveError::io(what(), error))?;
    if !metadata.is_file() {
        return Err(ArchiveError::pack(path.display(), "is no regular file; give the archive itself"));
    }
    OpenInput::new(FileInput::new(file), limits)
}
