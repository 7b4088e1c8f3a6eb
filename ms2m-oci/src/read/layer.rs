//! [`LayerReader`]: the layer's bytes, checked while they pass.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ms2m_core::{Digest, DigestAlgorithm, Hasher};

use super::section::Section;
use crate::error::{OciError, Result, Rule};
use crate::image::{Layer, LayerKind};
use crate::limits::Limits;

const BUFFER_BYTES: usize = 256 << 10;
/// How many times larger than its layer an archive may be, once it exceeds [`RATIO_FREE_BYTES`].
const RATIO: u64 = 1_000;
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// Yields the archive in a layer. The last read, the one that yields nothing, fails when a digest does not match: only after it may
/// the bytes be taken for the checkpoint.
///
/// Its errors carry an [`OciError`], which [`OciError::from_read`] takes out.
pub struct LayerReader {
    body: Body,
    layer: Layer,
    plain: Plain,
}

enum Body {
    Tar(Raw),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    Zstd(zstd::Decoder<'static, BufReader<Raw>>),
}

/// The bytes of the blob.
struct Raw {
    section: Section,
    hash: Hasher,
}

/// What has come out. Hashed apart only when that differs from the blob.
struct Plain {
    hash: Option<Hasher>,
    bytes: u64,
    most: u64,
}

impl LayerReader {
    pub(super) fn new(section: Section, layer: Layer, limits: &Limits) -> Result<Self> {
        let raw = Raw { section, hash: DigestAlgorithm::Sha256.hasher() };
        let buffered = |raw| BufReader::with_capacity(BUFFER_BYTES, raw);
        let begin = |source| OciError::Io { what: "beginning to decompress with zstd".into(), source };
        let body = match layer.kind {
            LayerKind::Tar => Body::Tar(raw),
            LayerKind::Gzip => Body::Gzip(Box::new(MultiGzDecoder::new(buffered(raw)))),
            LayerKind::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(buffered(raw)).map_err(begin)?;
                decoder.window_log_max(limits.window_log).map_err(begin)?;
                Body::Zstd(decoder)
            }
        };
        let hash = (layer.kind != LayerKind::Tar).then(|| DigestAlgorithm::Sha256.hasher());
        let most = limits.layer_bytes.min(layer.bytes.saturating_mul(RATIO).max(RATIO_FREE_BYTES));
        Ok(Self { body, layer, plain: Plain { hash, bytes: 0, most } })
    }

    fn raw(&self) -> &Raw {
        match &self.body {
            Body::Tar(raw) => raw,
            Body::Gzip(decoder) => decoder.get_ref().get_ref(),
            Body::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Everything has been read: is it what was announced?
    fn check(&self) -> Result<()> {
        let raw = self.raw();
        if raw.section.bytes > 0 {
            return Err(OciError::refuse(Rule::Size, self.layer.digest, format!("it ends {} bytes early", raw.section.bytes)));
        }
        let matches = |what, hash: &Hasher, expected: Digest| match hash.clone().finalize() {
            found if found == expected => Ok(()),
            found => Err(OciError::refuse(Rule::DigestMatch, expected, format!("the digest of {what} is {found}"))),
        };
        matches("the layer", &raw.hash, self.layer.digest)?;
        self.plain.hash.as_ref().map_or(Ok(()), |hash| matches("the archive in the layer", hash, self.layer.diff_id))
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.section.read(buf)?;
        self.hash.update(&buf[..read]);
        Ok(read)
    }
}

impl Read for LayerReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.body {
            Body::Tar(raw) => raw.read(buf),
            Body::Gzip(decoder) => decoder.read(buf).map_err(|error| damaged(self.layer, &error)),
            Body::Zstd(decoder) => decoder.read(buf).map_err(|error| damaged(self.layer, &error)),
        }?;
        if read == 0 {
            self.check().map_err(io::Error::other)?;
            return Ok(0);
        }
        self.plain.bytes += read as u64;
        if self.plain.bytes > self.plain.most {
            let reason = format!("the archive in it is larger than {} bytes", self.plain.most);
            return Err(io::Error::other(OciError::refuse(Rule::Limit, self.layer.digest, reason)));
        }
        if let Some(hash) = &mut self.plain.hash {
            hash.update(&buf[..read]);
        }
        Ok(read)
    }
}

fn damaged(layer: Layer, error: &io::Error) -> io::Error {
    io::Error::other(OciError::refuse(Rule::DigestMatch, layer.digest, format!("its compressed data is damaged: {error}")))
}

impl OciError {
    /// What an error of a [`LayerReader`] means.
    #[must_use]
    pub fn from_read(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = error.into_inner().and_then(|inner| inner.downcast::<Self>().ok());
            return inner
                .map_or_else(|| Self::Io { what: "reading the layer".into(), source: io::ErrorKind::Other.into() }, |inner| *inner);
        }
        Self::Io { what: "reading the layer".into(), source: error }
    }
}

impl std::fmt::Debug for LayerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerReader").field("layer", &self.layer).field("read", &self.plain.bytes).finish_non_exhaustive()
    }
}
