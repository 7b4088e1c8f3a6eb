//! [`DirectTransfer`].

use std::sync::Arc;

use async_trait::async_trait;
use hyper::Method;
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use serde::de::DeserializeOwned;

use crate::connect::Target;
use crate::credentials::Credentials;
use crate::wire::{CHECKPOINTS, STATUS, Status, Stored, migration_path};
use crate::{receive, send};

/// Moves checkpoints to the agent of the target node.
///
/// A cut does not begin anew: a call goes on where it was, for as long as its deadline allows, and a later call for the same part goes
/// on with what an earlier one has left, provided it is the same.
#[derive(Clone, Debug)]
pub struct DirectTransfer {
    target: Arc<Target>,
}

impl DirectTransfer {
    /// To the agent at this address (`https://HOST:PORT`), which must show a certificate for HOST that the authority has signed.
    ///
    /// # Errors
    /// `Invalid` when the address is none. Whether the agent and the files of the credentials are there is seen with the first call.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self> {
        Ok(Self { target: Arc::new(Target::new(url, credentials)?) })
    }

    /// The same, where the agent must show the certificate of this node, whatever its address is.
    ///
    /// # Errors
    /// `Invalid` when this is no name of a node.
    pub fn to_node(url: &str, node: &str, credentials: Credentials) -> Result<Self> {
        Ok(Self { target: Arc::new(Target::new(url, credentials)?.expecting(node)?) })
    }

    /// What the agent holds, of all migrations.
    ///
    /// # Errors
    /// When the agent cannot be reached, or does not let this side see it.
    pub async fn list(&self) -> Result<Vec<Stored>> {
        self.get(CHECKPOINTS).await
    }

    /// How the agent is.
    ///
    /// # Errors
    /// When the agent cannot be reached, or does not let this side see it.
    pub async fn status(&self) -> Result<Status> {
        self.get(STATUS).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A> {
        let response = self.target.ask_patiently(|| self.target.request(Method::GET, path)).await?;
        let answer = self.target.whole(response).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            let message = "the agent's answer is not understood; use programs of the same release on all nodes";
            Error::undo(ErrorKind::Unsupported, message).with("agent", self.target.url()).caused_by(error)
        })
    }
}

#[async_trait]
impl TransferBackend for DirectTransfer {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: true, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let sent = send::send(&self.target, job, body).await;
        let sent = sent.map_err(|error| error.with("migration", &job.migration).with("part", job.part))?;
        Ok(Receipt {
            migration: job.migration.clone(),
            part: job.part,
            digest: sent.stored.digest,
            archive_bytes: job.archive_bytes,
            transferred_bytes: sent.transferred_bytes,
            location: sent.stored.location,
        })
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        receive::open(Arc::clone(&self.target), receipt, offset_bytes).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let path = migration_path(migration);
        let discarded = self.target.ask_patiently(|| self.target.request(Method::DELETE, &path)).await;
        discarded.map(|_| ()).map_err(|error| error.with("migration", migration))
    }
}
