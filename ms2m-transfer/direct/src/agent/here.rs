//! [`Here`]: what has arrived, for who makes the copy in the agent's own process.

use std::io::SeekFrom;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use tokio::fs::File;
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use super::Agent;
use super::store::failed;
use crate::wire::PIECE_BYTES;

/// The checkpoints that an agent holds, without a connection to it: they can be read and discarded. Their digests were checked when they
/// arrived.
#[derive(Clone, Debug)]
pub struct Here(Agent);

impl Agent {
    /// What has arrived.
    #[must_use]
    pub fn here(&self) -> Here {
        Here(self.clone())
    }
}

#[async_trait]
impl TransferBackend for Here {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: true, bytes_max: Some(self.0.store().options().archive_bytes_max) }
    }

    async fn send(&self, job: &TransferJob, _: ByteStream) -> Result<Receipt> {
        let message = "nothing is sent to the place where it is; send it from another node, by DirectTransfer";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", &job.migration))
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let path = self.0.store().file(&receipt.migration, receipt.part, receipt.digest);
        let mut file = File::open(&path).await.map_err(failed("read", &path))?;
        file.seek(SeekFrom::Start(offset_bytes)).await.map_err(failed("read", &path))?;
        Ok(Box::pin(ReaderStream::with_capacity(file, PIECE_BYTES).map(move |piece| piece.map_err(failed("read", &path)))))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.0.discard(migration).await
    }
}
