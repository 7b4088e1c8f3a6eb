//! Where a sealed part is, and by what it is known: what a receipt's location says.

use std::fmt;
use std::str::FromStr;

use ms2m_core::{Digest, Error, ErrorKind, Receipt, Result};

/// `sealed:PLAIN:CIPHER:BYTES:HEADER:BYTES:INNER`, digests with a dash for their colon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    /// Of the checkpoint: as in the receipt.
    pub(crate) plain: Digest,
    /// Of the ciphertext: as in the inner backend's receipt.
    pub(crate) cipher: Digest,
    pub(crate) cipher_bytes: u64,
    /// Of the header with the nonce, which no other stream can have.
    pub(crate) header: Digest,
    pub(crate) header_bytes: usize,
    /// In the inner backend's words.
    pub(crate) inner: String,
}

impl Location {
    /// Of a receipt of ours.
    pub(crate) fn of(receipt: &Receipt) -> Result<Self> {
        let location: Self = receipt.location.parse().map_err(|error: Error| error.with("migration", &receipt.migration))?;
        if location.plain != receipt.digest {
            return Err(Error::fatal(ErrorKind::NotFound, "no such checkpoint has arrived")
                .with("migration", &receipt.migration)
                .with("part", receipt.part)
                .with("digest", receipt.digest));
        }
        Ok(location)
    }

    /// What the inner backend has said.
    pub(crate) fn inner_receipt(&self, receipt: &Receipt) -> Receipt {
        Receipt {
            digest: self.cipher,
            archive_bytes: self.cipher_bytes,
            transferred_bytes: receipt.transferred_bytes,
            location: self.inner.clone(),
            ..receipt.clone()
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dashed = |digest: Digest| digest.to_string().replace(':', "-");
        let [plain, cipher, header] = [self.plain, self.cipher, self.header].map(dashed);
        write!(f, "sealed:{plain}:{cipher}:{}:{header}:{}:{}", self.cipher_bytes, self.header_bytes, self.inner)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::fatal(ErrorKind::NotFound, "the receipt is not of a sealed transfer; open it by the backend that has sent it");
        let digest = |dashed: &str| dashed.replacen('-', ":", 1).parse().map_err(|_| wrong());
        let parts: Vec<_> = text.splitn(7, ':').collect();
        let ["sealed", plain, cipher, cipher_bytes, header, header_bytes, inner] = parts[..] else { return Err(wrong()) };
        Ok(Self {
            plain: digest(plain)?,
            cipher: digest(cipher)?,
            cipher_bytes: cipher_bytes.parse().map_err(|_| wrong())?,
            header: digest(header)?,
            header_bytes: header_bytes.parse().map_err(|_| wrong())?,
            inner: inner.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_survives_being_text() {
        let [plain, cipher, header] = [b"p", b"c", b"h"].map(|bytes| Digest::of(bytes));
        let location = Location { plain, cipher, cipher_bytes: 7, header, header_bytes: 184, inner: "registry:5000/a@sha256:b".into() };
        assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        for text in ["", "memory:a/final", "sealed:a:b:1:c:2:x", &location.to_string().replace(":7:", ":-7:")] {
            assert_eq!(text.parse::<Location>().unwrap_err().kind(), ErrorKind::NotFound, "{text}");
        }
    }
}
