//! [`RemoteTransfer`].

use async_trait::async_trait;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use ms2m_transfer_direct::{Caller, Credentials, DirectTransfer};

use crate::place::{SourcePlace, Way};
use crate::wire::{Sending, path};

/// Has the source's agent send what it has.
#[derive(Debug)]
pub struct RemoteTransfer {
    agent: Caller,
    place: SourcePlace,
    way: Way,
    /// For what is to be removed at the target, also when the source's node is gone.
    target: DirectTransfer,
}

impl RemoteTransfer {
    /// From the agent of the source's node, on this way.
    ///
    /// # Errors
    /// `Invalid` when the way leads nowhere.
    pub fn new(agent: Caller, place: SourcePlace, way: Way, credentials: Credentials) -> Result<Self> {
        let Way::Direct { url, node, .. } = &way;
        Ok(Self { agent, place, target: DirectTransfer::to_node(url, node, credentials)?, way })
    }
}

#[async_trait]
impl TransferBackend for RemoteTransfer {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn capability(&self) -> TransferCapability {
        self.target.capability()
    }

    /// The body is not read: it comes from a [`RemoteSource`](crate::RemoteSource), which has none.
    async fn send(&self, job: &TransferJob, _: ByteStream) -> Result<Receipt> {
        let question = Sending { place: self.place.clone(), job: job.clone(), way: self.way.clone() };
        let receipt: Receipt = self.agent.call(path::SEND, &question, job.deadline).await?;
        if (&receipt.migration, receipt.part, receipt.archive_bytes) == (&job.migration, job.part, job.archive_bytes) {
            return Ok(receipt);
        }
        let message = "the source's agent has sent something else; use programs of the same release on all nodes";
        Err(Error::undo(ErrorKind::Corrupt, message).with("migration", &job.migration).with("part", job.part))
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        self.target.open(receipt, offset_bytes).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.target.discard(migration).await
    }
}
