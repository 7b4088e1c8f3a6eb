//! Digests: of bytes in transit, and of an applied sequence in its order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind};

/// A SHA-256 value; as text `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of one piece of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the raw value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::fatal(ErrorKind::Invalid, format!("{text:?} is no digest: expected sha256: and 64 hexadecimal digits"));
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii()).ok_or_else(malformed)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// The order-sensitive digest of everything applied so far: `d_n = SHA-256(d_{n-1} || n || key || body)`.
///
/// Two consumers with equal `(n, digest)` have applied the same messages in the same order. `key` and `body` are
/// length-prefixed, so no two sequences share an encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct DigestChain {
    n: u64,
    digest: Digest,
}

impl DigestChain {
    /// A chain that stands at `n` with `digest`, for example read from a snapshot.
    #[must_use]
    pub const fn at(n: u64, digest: Digest) -> Self {
        Self { n, digest }
    }

    /// Applies the next message.
    pub fn extend(&mut self, key: &[u8], body: &[u8]) {
        self.n += 1;
        let mut hash = Sha256::new();
        hash.update(self.digest.0);
        hash.update(self.n.to_be_bytes());
        for part in [key, body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        self.digest = Digest(hash.finalize().into());
    }

    /// How many messages were applied.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// The digest after the n-th.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}
