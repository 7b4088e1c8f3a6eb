//! [`RemoteTransfer`].

use std::num::NonZeroU64;

use async_trait::async_trait;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use ms2m_transfer_direct::{Caller, Credentials, DirectTransfer};

use crate::place::{SourcePlace, Way};
use crate::source::WITHIN;
use crate::wire::{Forgetting, Sending, path};

/// Has the source's agent send what it has.
#[derive(Debug)]
pub struct RemoteTransfer {
    agent: Caller,
    place: SourcePlace,
    way: Way,
    credentials: Credentials,
    bytes_per_s_max: Option<NonZeroU64>,
}

impl RemoteTransfer {
    /// From the agent of the source's node, on this way. `credentials` are for the target's agent.
    #[must_use]
    pub fn new(agent: Caller, place: SourcePlace, way: Way, credentials: Credentials) -> Self {
        Self { agent, place, way, credentials, bytes_per_s_max: None }
    }

    /// With a limit of the bandwidth, in bytes per second.
    #[must_use]
    pub fn with_bytes_per_s_max(mut self, bytes_per_s_max: Option<NonZeroU64>) -> Self {
        self.bytes_per_s_max = bytes_per_s_max;
        self
    }

    /// The target itself, where the way leads straight to it: also when the source's node is gone.
    fn target(&self) -> Result<Option<DirectTransfer>> {
        match &self.way {
            Way::Direct { url, node } => DirectTransfer::to_node(url, node, self.credentials.clone()).map(Some),
            Way::Registry { .. } | Way::SharedVolume => Ok(None),
        }
    }
}

#[async_trait]
impl TransferBackend for RemoteTransfer {
    fn name(&self) -> &'static str {
        self.way.name()
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: matches!(self.way, Way::Direct { .. }), bytes_max: None }
    }

    /// The body is not read: it comes from a [`RemoteSource`](crate::RemoteSource), which has none.
    async fn send(&self, job: &TransferJob, _: ByteStream) -> Result<Receipt> {
        let (place, way, bytes_per_s_max) = (self.place.clone(), self.way.clone(), self.bytes_per_s_max);
        let question = Sending { place, job: job.clone(), way, bytes_per_s_max };
        let receipt: Receipt = self.agent.call(path::SEND, &question, job.deadline).await?;
        if (&receipt.migration, receipt.part, receipt.archive_bytes) == (&job.migration, job.part, job.archive_bytes) {
            return Ok(receipt);
        }
        let message = "the source's agent has sent something else; use programs of the same release on all nodes";
        Err(Error::undo(ErrorKind::Corrupt, message).with("migration", &job.migration).with("part", job.part))
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let message = "the bytes of this checkpoint stay between the nodes: their agents restore it";
        match self.target()? {
            Some(target) => target.open(receipt, offset_bytes).await,
            None => Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", &receipt.migration)),
        }
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        match self.target()? {
            Some(target) => target.discard(migration).await,
            None => {
                let question = Forgetting { migration: migration.clone(), way: self.way.clone() };
                self.agent.call(path::DISCARD_TRANSFER, &question, WITHIN).await
            }
        }
    }
}
