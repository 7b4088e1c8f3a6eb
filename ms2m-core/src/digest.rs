//! Digests: of bytes in transit, and of an applied sequence in its order.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind};

/// How a digest is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestAlgorithm {
    /// SHA-256 (FIPS 180-4): what registries and the tools of images know.
    #[default]
    Sha256,
    /// BLAKE3 with its 32 bytes: faster where the processor has no SHA instructions, and registered by the OCI image
    /// specification since 1.1.1. For bytes that go from one ms2m to another.
    Blake3,
}

impl DigestAlgorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Blake3];

    /// As a digest's text begins.
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }

    /// A digest by this algorithm, of nothing yet.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            Self::Sha256 => State::Sha256(Context::new(&SHA256)),
            Self::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// The digest of one piece of bytes.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Digest {
        let mut hash = self.hasher();
        hash.update(bytes);
        hash.finalize()
    }
}

/// The digest of some bytes; as text its algorithm, a colon and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    hash: [u8; 32],
}

impl Digest {
    /// The SHA-256 of one piece of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&digest(&SHA256, bytes))
    }

    /// From the raw value of a SHA-256.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self::new(DigestAlgorithm::Sha256, hash)
    }

    /// From the raw value.
    #[must_use]
    pub const fn new(algorithm: DigestAlgorithm, hash: [u8; 32]) -> Self {
        Self { algorithm, hash }
    }

    fn from_hash(hash: &aws_lc_rs::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has so many.
        bytes.copy_from_slice(hash.as_ref());
        Self::from_bytes(bytes)
    }

    /// How it was computed.
    #[must_use]
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The raw value.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether it is of these bytes.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.algorithm.of(bytes) == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm.name())?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || {
            let message = format!("{text:?} is no digest: expected sha256: or blake3: and 64 hexadecimal digits");
            Error::fatal(ErrorKind::Invalid, message)
        };
        let (name, hex) = text.split_once(':').filter(|(_, hex)| hex.len() == 64 && hex.is_ascii()).ok_or_else(malformed)?;
        let algorithm = DigestAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(malformed)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(Self { algorithm, hash })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { (self.algorithm, self.hash).serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <(DigestAlgorithm, [u8; 32])>::deserialize(deserializer).map(|(algorithm, hash)| Self { algorithm, hash })
        }
    }
}

/// A digest in the making, of bytes that come in pieces. A clone goes on from the same bytes.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    /// By the crypto provider, which is fast also where the processor has no SHA instructions.
    Sha256(Context),
    /// Of some 2 kB.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// The next bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.0 {
            State::Sha256(context) => context.update(bytes.as_ref()),
            State::Blake3(hasher) => {
                hasher.update(bytes.as_ref());
            }
        }
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finalize(self) -> Digest {
        match self.0 {
            State::Sha256(context) => Digest::from_hash(&context.finish()),
            State::Blake3(hasher) => Digest::new(DigestAlgorithm::Blake3, *hasher.finalize().as_bytes()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match &self.0 {
            State::Sha256(_) => DigestAlgorithm::Sha256,
            State::Blake3(_) => DigestAlgorithm::Blake3,
        };
        f.debug_tuple("Hasher").field(&algorithm).finish()
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
        let mut hash = DigestAlgorithm::Sha256.hasher();
        hash.update(self.digest.as_bytes());
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

    /// Of "abc": FIPS 180-4, and `b3sum`.
    const KNOWN: [(DigestAlgorithm, &str); 2] = [
        (DigestAlgorithm::Sha256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (DigestAlgorithm::Blake3, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ];

    #[test]
    fn pieces_have_the_digest_of_the_whole_and_a_clone_goes_on_by_itself() {
        for (algorithm, known) in KNOWN {
            let mut hash = algorithm.hasher();
            hash.update("a");
            let mut other = hash.clone();
            hash.update([b'b', b'c']);
            other.update("x");
            let (whole, other) = (hash.finalize(), other.finalize());
            assert_eq!(whole.to_string(), known);
            assert!(whole.is_of(b"abc") && other.is_of(b"ax") && !whole.is_of(b"ax"));
        }
        assert_eq!(Digest::of(b"abc").to_string(), KNOWN[0].1);
    }

    #[test]
    fn it_is_read_as_it_is_written_and_another_algorithm_is_another_digest() {
        let read: Vec<Digest> = KNOWN.iter().map(|(_, text)| text.parse().unwrap()).collect();
        for (digest, (algorithm, text)) in read.iter().zip(KNOWN) {
            assert_eq!((digest.algorithm(), digest.to_string().as_str()), (algorithm, text));
            let json = serde_json::to_string(digest).unwrap();
            assert_eq!((json.trim_matches('"'), serde_json::from_str::<Digest>(&json).unwrap()), (text, *digest));
        }
        assert_ne!(Digest::new(DigestAlgorithm::Sha256, [7; 32]), Digest::new(DigestAlgorithm::Blake3, [7; 32]));
        for text in ["", "sha256", "sha256:", "md5:00", &KNOWN[0].1[7..], &KNOWN[0].1[..70], "BLAKE3:00"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
