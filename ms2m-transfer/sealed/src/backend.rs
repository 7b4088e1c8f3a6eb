//! [`Sealed`].

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};

use crate::keys::{Key, Recipient};
use crate::location::Location;
use crate::{receive, send};

/// Plain bytes of one chunk.
pub(crate) const CHUNK_BYTES: u64 = 64 << 10;
/// What encryption adds to each.
pub(crate) const TAG_BYTES: u64 = 16;
/// No header is longer.
pub(crate) const HEADER_BYTES_MAX: usize = 4096;

/// A backend that only ever sees ciphertext.
///
/// A second `send` of a part encrypts it anew, so nothing is resumed over calls.
#[derive(Debug)]
pub struct Sealed {
    inner: Arc<dyn TransferBackend>,
    recipient: Recipient,
    key: Option<Key>,
}

impl Sealed {
    /// Encrypts for `target`. This side cannot read what it has sent.
    #[must_use]
    pub fn for_target(inner: Arc<dyn TransferBackend>, target: Recipient) -> Self {
        Self { inner, recipient: target, key: None }
    }

    /// Encrypts for `key`'s owner, and reads what was encrypted for it.
    #[must_use]
    pub fn with_key(inner: Arc<dyn TransferBackend>, key: Key) -> Self {
        Self { inner, recipient: key.recipient(), key: Some(key) }
    }
}

/// Length of a sealed part, the header aside.
pub(crate) fn payload_bytes(plain_bytes: u64) -> u64 {
    // An empty part has one chunk as well.
    plain_bytes + plain_bytes.div_ceil(CHUNK_BYTES).max(1) * TAG_BYTES
}

/// The longest part whose sealed form surely has no more than `cipher_bytes`.
fn plain_bytes_max(cipher_bytes: u64) -> u64 {
    let payload = cipher_bytes.saturating_sub(HEADER_BYTES_MAX as u64);
    payload.saturating_sub(payload.div_ceil(CHUNK_BYTES + TAG_BYTES) * TAG_BYTES)
}

#[async_trait]
impl TransferBackend for Sealed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: self.inner.capability().bytes_max.map(plain_bytes_max) }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        if let Some(most) = self.capability().bytes_max.filter(|most| job.archive_bytes > *most) {
            let message = format!("the checkpoint has {} bytes, and {most} can be sealed and sent at most", job.archive_bytes);
            return Err(Error::undo(ErrorKind::LimitExceeded, message).with("migration", &job.migration));
        }
        let sealing = send::begin(&self.recipient, job, body)?;
        let (header, header_bytes) = (sealing.header, sealing.header_bytes);
        let cipher_job = TransferJob { archive_bytes: sealing.cipher_bytes, ..job.clone() };
        let inner = self.inner.send(&cipher_job, sealing.stream).await?;
        let plain = sealing.digest.await?;
        let location = Location {
            plain,
            cipher: inner.digest,
            cipher_bytes: inner.archive_bytes,
            header,
            header_bytes,
            inner: inner.location.clone(),
        };
        Ok(Receipt { digest: plain, archive_bytes: job.archive_bytes, location: location.to_string(), ..inner })
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let location = Location::of(receipt)?;
        let key = self.key.as_ref().ok_or_else(|| {
            Error::fatal(ErrorKind::Unauthorized, "the checkpoint is encrypted, and there is no key here; only its target can read it")
                .with("migration", &receipt.migration)
        })?;
        receive::open(&self.inner, key, receipt, &location, offset_bytes).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.inner.discard(migration).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_announced_fits_when_it_is_sealed() {
        assert_eq!(payload_bytes(0), 16);
        assert_eq!(payload_bytes(CHUNK_BYTES), CHUNK_BYTES + 16);
        assert_eq!(payload_bytes(CHUNK_BYTES + 1), CHUNK_BYTES + 1 + 32);
        for cipher in (0..300_000).step_by(7).chain([64 << 20, 256 << 30]) {
            let plain = plain_bytes_max(cipher);
            assert!(plain == 0 || HEADER_BYTES_MAX as u64 + payload_bytes(plain) <= cipher, "{cipher}");
        }
    }
}
