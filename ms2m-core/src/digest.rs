//! Digests: of bytes in transit, and of an applied sequence in its order.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind};

/// A SHA-256 value; as text `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of one piece of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&digest(&SHA256, bytes))
    }

    /// From the raw value.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn from_hash(hash: &aws_lc_rs::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has so many.
        bytes.copy_from_slice(hash.as_ref());
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

/// A SHA-256 value in the making, of bytes that come in pieces. A clone goes on from the same bytes.
///
/// By the crypto provider, which is fast also where the processor has no SHA instructions.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finalize(self) -> Digest {
        Digest::from_hash(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sha256").finish_non_exhaustive()
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
        self.digest = hash.finalize();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_digest_of_the_whole_and_a_clone_goes_on_by_itself() {
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut hash = Sha256::new();
        hash.update("a");
        let mut other = hash.clone();
        hash.update([b'b', b'c']);
        other.update("x");
        assert_eq!(hash.finalize().to_string(), known);
        assert_eq!(Digest::of(b"abc").to_string(), known);
        assert_eq!(other.finalize(), Digest::of(b"ax"));
    }
}
