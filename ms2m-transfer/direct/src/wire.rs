//! What client and agent say to each other. Both sides take every name of the protocol from here.

use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind, MigrationId, Part, Result, Verdict};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The protocol that a connection is upgraded to for an upload.
pub(crate) const PROTOCOL: &str = "ms2m-transfer/2";
/// The digest of an upload, by this version of the protocol. Both ends are ms2m's, so it need not be SHA-256, which would bound the
/// transfer where the processor has no instructions for it.
pub(crate) const DIGEST_OF_UPLOADS: DigestAlgorithm = DigestAlgorithm::Blake3;

/// Announced size of a part, in bytes.
pub(crate) const ARCHIVE_BYTES: &str = "ms2m-archive-bytes";
/// Names one call of `send`, over all its connections.
pub(crate) const CALL: &str = "ms2m-call";
/// Which connection of this call it is, from 0. An earlier one than the agent knows has been given up.
pub(crate) const ATTEMPT: &str = "ms2m-attempt";
/// The digest of all bytes, for those who know it in advance.
pub(crate) const DIGEST: &str = "ms2m-digest";

/// Where checkpoints are, below the agent's root.
pub(crate) const CHECKPOINTS: &str = "/v1/checkpoints";

/// How the agent is.
pub(crate) const STATUS: &str = "/v1/status";

/// A piece of an upload: read, digested and written as one.
pub(crate) const PIECE_BYTES: usize = 512 << 10;
/// At each multiple, what the agent holds can be compared and gone on from.
pub(crate) const MARK_BYTES: u64 = 4 << 20;

/// What TLS may hold for the socket: as much as a piece, so that one system call takes many records.
pub(crate) const TLS_BUFFER_BYTES: usize = 512 << 10;

pub(crate) fn migration_path(migration: &MigrationId) -> String {
    format!("{CHECKPOINTS}/{migration}")
}

pub(crate) fn part_path(migration: &MigrationId, part: Part) -> String {
    format!("{CHECKPOINTS}/{migration}/{part}")
}

/// The inverse of a part's `Display`.
pub(crate) fn parse_part(text: &str) -> Option<Part> {
    let part = match text.strip_prefix("round-") {
        Some(round) => Part::Round(round.parse().ok()?),
        None => Part::Final,
    };
    (part.to_string() == text).then_some(part)
}

/// What the agent says on an upgraded connection. Each is a length (four bytes, big endian) and JSON.
///
/// The client's side has no framing: the offset from which it sends (eight bytes, big endian), the bytes from there to the announced end,
/// and the 32 bytes of their digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// Holds so many bytes from an earlier connection, with this digest. In rising order; the last one is all that it holds.
    Mark { bytes: u64, digest: Digest },
    /// No more marks: send.
    Go,
    /// So many bytes are written.
    Held { bytes: u64 },
    /// All bytes are there; it is busy with them.
    Working,
    /// Everything has arrived, was checked and is visible.
    Done(Stored),
    /// Nothing more will be taken on this connection.
    Failed(Problem),
}

const WORD_BYTES_MAX: usize = 16 << 10;

pub(crate) async fn say(to: &mut (impl AsyncWrite + Unpin), word: &Word) -> std::io::Result<()> {
    let text = serde_json::to_vec(word)?;
    let mut framed = Vec::with_capacity(4 + text.len());
    framed.extend_from_slice(&(text.len() as u32).to_be_bytes());
    framed.extend_from_slice(&text);
    to.write_all(&framed).await?;
    to.flush().await
}

/// Hears words; a call that is dropped loses nothing.
#[derive(Debug)]
pub(crate) struct Words<R> {
    from: R,
    heard: bytes::BytesMut,
}

impl<R: AsyncRead + Unpin> Words<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, heard: bytes::BytesMut::new() }
    }

    /// The next word; `None` when the other side has ended.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Word>> {
        loop {
            if let Some((length, rest)) = self.heard.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if length > WORD_BYTES_MAX {
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a word is too long"));
                }
                if rest.len() >= length {
                    let word = serde_json::from_slice(&rest[..length])?;
                    let _ = self.heard.split_to(4 + length);
                    return Ok(Some(word));
                }
            }
            if self.from.read_buf(&mut self.heard).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// A part that has arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Whose checkpoint it is.
    pub migration: MigrationId,
    /// Which part of it.
    pub part: Part,
    /// Of all bytes: BLAKE3 of an upload, SHA-256 of a form.
    pub digest: Digest,
    /// Its size in bytes.
    pub archive_bytes: u64,
    /// The file, on the agent's node.
    pub location: String,
}

impl Stored {
    pub(crate) fn new(migration: &MigrationId, part: Part, digest: Digest, archive_bytes: u64, file: &std::path::Path) -> Self {
        Self { migration: migration.clone(), part, digest, archive_bytes, location: file.display().to_string() }
    }
}

/// How an agent is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Its release.
    pub version: String,
    /// The protocol of its uploads.
    pub protocol: String,
    /// Whether it takes new uploads: not any more when it was told to end.
    pub ready: bool,
    /// Room for checkpoints, in bytes, without what it leaves to others.
    pub free_bytes: u64,
    /// Largest checkpoint that it takes, in bytes.
    pub archive_bytes_max: u64,
    /// Parts of checkpoints that have arrived.
    pub parts: u64,
    /// Their bytes.
    pub parts_bytes: u64,
    /// Uploads and downloads that are going on.
    pub transfers_open: u64,
    /// How many of them it takes at a time.
    pub transfers_max: u64,
    /// Connections, this one included.
    pub connections_open: u64,
}

/// An error on its way between client and agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    kind: ErrorKind,
    verdict: Verdict,
    message: String,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), verdict: error.verdict(), message: error.to_string() }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::new(problem.kind, problem.verdict, problem.message)
    }
}

/// A digest as the text of a header or of a path.
pub(crate) fn parse_digest(text: &str) -> Result<Digest> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written_and_nothing_else() {
        for part in [Part::Final, Part::Round(1), Part::Round(u32::MAX)] {
            assert_eq!(parse_part(&part.to_string()), Some(part));
        }
        for text in ["", "Final", "round-", "round-01", "round--1", "round-4294967296", "../final", "final.sha256-0"] {
            assert_eq!(parse_part(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn words_arrive_in_whatever_pieces() {
        let words = [
            Word::Mark { bytes: 7, digest: Digest::of(b"x") },
            Word::Go,
            Word::Failed((&Error::undo(ErrorKind::Corrupt, "the digest is wrong")).into()),
        ];
        let mut said = Vec::new();
        for word in &words {
            say(&mut said, word).await.unwrap();
        }
        let (mut to, from) = tokio::io::duplex(3);
        tokio::spawn(async move { to.write_all(&said).await.unwrap() });
        let mut heard = Words::new(from);
        for word in words {
            assert_eq!(heard.next().await.unwrap(), Some(word));
        }
        assert_eq!(heard.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_word_without_end_is_refused() {
        let mut heard = Words::new(&[0xff, 0xff, 0xff, 0xff, 1, 2][..]);
        assert_eq!(heard.next().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    }
}
