//! [`TransferBackend`]: how a checkpoint gets to the target.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::bytes_stream::ByteStream;
use crate::digest::Digest;
use crate::error::Result;
use crate::id::MigrationId;
use crate::part::Part;

/// What a backend can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TransferCapability {
    /// Whether a second `send` goes on where the first broke off.
    pub resumes: bool,
    /// Largest part it takes, in bytes; `None` when only the target's room limits it.
    pub bytes_max: Option<u64>,
}

/// One part of a checkpoint to move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransferJob {
    /// Whose checkpoint it is.
    pub migration: MigrationId,
    /// Which part of it.
    pub part: Part,
    /// Its announced size in bytes. More, or fewer, is an error.
    pub archive_bytes: u64,
    /// How long the whole call may take.
    pub deadline: Duration,
}

/// Proof that a part of a checkpoint has arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose checkpoint it is.
    pub migration: MigrationId,
    /// Which part of it.
    pub part: Part,
    /// Of all bytes, computed while they passed, by an algorithm of the backend's choice.
    pub digest: Digest,
    /// Size at the target, in bytes.
    pub archive_bytes: u64,
    /// Bytes that went over the wire (less with compression, deduplication or resumption).
    pub transferred_bytes: u64,
    /// Where it is, in the backend's own words.
    pub location: String,
}

/// Moves checkpoints.
///
/// # Contract
/// - `Ok` of [`send`](Self::send): every byte is readable at the target under [`Receipt::digest`].
/// - `Err` of `send`: nothing of this part is visible at the target, and calling again with the same migration id and part is
///   safe. A second part of a migration leaves the others as they are; the same part again replaces the first.
/// - Memory use does not depend on the checkpoint's size.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TransferBackend: fmt::Debug + Send + Sync + 'static {
    /// The backend's name in reports, for example `memory`, `direct`, `registry`, `shared-volume`.
    fn name(&self) -> &'static str;

    /// What this backend can do.
    fn capability(&self) -> TransferCapability;

    /// Moves a part of a checkpoint to the target.
    ///
    /// # Errors
    /// See the contract. A body that errs, is shorter or longer than announced is an error.
    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt>;

    /// Reads at the target what arrived, from `offset_bytes` on.
    ///
    /// # Errors
    /// `NotFound` when nothing has arrived under this receipt.
    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream>;

    /// Removes all parts that a migration has moved, finished or not. Missing is `Ok`.
    ///
    /// # Errors
    /// When something may be left over.
    async fn discard(&self, migration: &MigrationId) -> Result<()>;
}
