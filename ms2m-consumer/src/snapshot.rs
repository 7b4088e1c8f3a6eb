//! [`Snapshot`]: what a copy starts from.

use bytes::Bytes;
use ms2m_broker::protocol::{Image, MigrationTag};
use ms2m_core::{Digest, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Version of the encoding. Readers take this one and none that is newer.
pub const SNAPSHOT_VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"ms2msdk\0";
const HEADER_BYTES: usize = 8 + 2 + 32;

/// A consumer at a safe point: the application's state, and beside it the position in the queue.
///
/// Encoded as a mark (8 bytes), version (2, big endian), SHA-256 of the rest (32), the rest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The queue it was taken on.
    pub queue: String,
    /// Number, digest, and what the broker may deliver again.
    pub image: Image,
    /// What [`Handler::snapshot`](crate::Handler::snapshot) gave.
    pub state: Bytes,
}

impl Snapshot {
    /// The migration it was taken for.
    #[must_use]
    pub fn migration(&self) -> Option<MigrationTag> {
        self.image.migration
    }

    /// As bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Other`] should the encoder fail.
    pub fn encode(&self) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.state.len() + 4096);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 32]);
        let mut bytes = postcard::to_extend(self, bytes)
            .map_err(|error| Error::fatal(ErrorKind::Other, "the snapshot cannot be encoded").caused_by(error))?;
        let digest = Digest::of(&bytes[HEADER_BYTES..]);
        bytes[10..HEADER_BYTES].copy_from_slice(digest.as_bytes());
        Ok(bytes.into())
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] from a newer SDK; [`ErrorKind::Corrupt`] when it is no snapshot, or not what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = |what: &str| Error::undo(ErrorKind::Corrupt, format!("{what}; take the checkpoint again"));
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(corrupt("this is no snapshot of an ms2m consumer"));
        }
        let version = u16::from_be_bytes([bytes[8], bytes[9]]);
        if version > SNAPSHOT_VERSION {
            let text =
                format!("a snapshot of version {version}; this program reads up to {SNAPSHOT_VERSION}: update the copy's image first");
            return Err(Error::fatal(ErrorKind::Unsupported, text));
        }
        let (header, rest) = bytes.split_at(HEADER_BYTES);
        if Digest::of(rest).as_bytes() != &header[10..] {
            return Err(corrupt("the snapshot's digest does not match: it was cut off or changed"));
        }
        postcard::from_bytes(rest).map_err(|error| corrupt("the snapshot cannot be decoded").caused_by(error))
    }
}

#[cfg(test)]
mod tests {
    use ms2m_broker::link::QueueKind;
    use ms2m_broker::protocol::{ConsumerConfig, Source};
    use ms2m_core::InstanceId;

    use super::*;

    fn sample() -> Snapshot {
        let config = ConsumerConfig::new(QueueKind::Classic, false);
        let image = Source::new(config, InstanceId::new("a").unwrap(), "c".into()).image();
        Snapshot { queue: "orders".into(), image, state: Bytes::from_static(b"state") }
    }

    #[test]
    fn comes_back_as_it_was() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Snapshot::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn says_what_is_wrong_with_other_bytes() {
        let good = sample().encode().unwrap();
        let changed = |at: usize| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1;
            Snapshot::decode(&bytes).unwrap_err()
        };
        assert_eq!(changed(0).kind(), ErrorKind::Corrupt);
        assert_eq!(changed(8).kind(), ErrorKind::Unsupported);
        for at in [20, HEADER_BYTES, good.len() - 1] {
            assert!(changed(at).message().contains("digest"), "{at}");
        }
        for length in [0, 9, HEADER_BYTES - 1, HEADER_BYTES, good.len() - 1] {
            assert_eq!(Snapshot::decode(&good[..length]).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
        }
    }
}
