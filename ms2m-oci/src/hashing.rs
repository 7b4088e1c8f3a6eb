//! [`Hashing`]: the digest of what is written.

use std::io::{self, Write};

use ms2m_core::{Digest, DigestAlgorithm, Hasher};

/// Digests and counts what passes.
#[derive(Debug)]
pub struct Hashing<W> {
    inner: W,
    hash: Hasher,
    bytes: u64,
}

impl<W> Hashing<W> {
    /// On its way into this.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: DigestAlgorithm::Sha256.hasher(), bytes: 0 }
    }

    /// Of everything that has been written; what lies below is to be flushed before.
    #[must_use]
    pub fn finish(self) -> (Digest, u64) {
        (self.hash.finalize(), self.bytes)
    }
}

impl<W: Write> Write for Hashing<W> {
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
