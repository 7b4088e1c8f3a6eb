//! [`RemoteTarget`].

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{CopyStatus, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use ms2m_transfer_direct::Caller;

use crate::place::{Restores, TargetPlace, Way};
use crate::source::WITHIN;
use crate::wire::{Preparing, Restoring, Staging, path};

/// Has the copy made on another node, of what has arrived there.
#[derive(Debug)]
pub struct RemoteTarget {
    agent: Caller,
    place: TargetPlace,
    way: Way,
}

impl RemoteTarget {
    /// By the agent of the copy's node, in this pod, of what has come on this way.
    #[must_use]
    pub fn new(agent: Caller, place: TargetPlace, way: Way) -> Self {
        Self { agent, place, way }
    }
}

/// For whom to encrypt what only the agent of a node may read.
///
/// # Errors
/// When it cannot be reached, or keeps no key.
pub async fn recipient(agent: &Caller) -> Result<String> {
    agent.call(path::RECIPIENT, &(), WITHIN).await
}

/// What a node makes copies by.
///
/// # Errors
/// When its agent cannot be reached, or does not know.
pub async fn restores(agent: &Caller) -> Result<Restores> {
    agent.call(path::RESTORES, &(), WITHIN).await
}

#[async_trait]
impl RestoreTarget for RemoteTarget {
    fn name(&self) -> &'static str {
        if self.place.image.is_some() { "image" } else { "runtime" }
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        let question = Preparing { place: self.place.clone(), job: job.clone() };
        self.agent.call(path::PREPARE, &question, job.deadline).await
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, _: Arc<dyn TransferBackend>) -> Result<()> {
        let question = Staging { place: self.place.clone(), job: job.clone(), receipt: receipt.clone(), way: self.way.clone() };
        self.agent.call(path::STAGE, &question, job.deadline).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], _: Arc<dyn TransferBackend>) -> Result<Restored> {
        let question = Restoring { place: self.place.clone(), job: job.clone(), receipts: receipts.to_vec(), way: self.way.clone() };
        self.agent.call(path::RESTORE, &question, job.deadline).await
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        self.agent.call(path::TARGET_STATUS, &self.place, WITHIN).await
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        self.agent.call(path::PROMOTE, &self.place, WITHIN).await
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        self.agent.call(path::DISCARD_TARGET, &self.place, WITHIN).await
    }
}
