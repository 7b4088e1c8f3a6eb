//! [`RemoteTarget`].

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{CopyStatus, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use ms2m_transfer_direct::Caller;

use crate::place::TargetPlace;
use crate::source::WITHIN;
use crate::wire::{Preparing, Restoring, Staging, path};

/// Has the copy made on another node, of what has arrived there.
#[derive(Debug)]
pub struct RemoteTarget {
    agent: Caller,
    place: TargetPlace,
}

impl RemoteTarget {
    /// By the agent of the copy's node, in this pod.
    #[must_use]
    pub fn new(agent: Caller, place: TargetPlace) -> Self {
        Self { agent, place }
    }
}

#[async_trait]
impl RestoreTarget for RemoteTarget {
    fn name(&self) -> &'static str {
        "runtime"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        let question = Preparing { place: self.place.clone(), job: job.clone() };
        self.agent.call(path::PREPARE, &question, job.deadline).await
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, _: Arc<dyn TransferBackend>) -> Result<()> {
        let question = Staging { place: self.place.clone(), job: job.clone(), receipt: receipt.clone() };
        self.agent.call(path::STAGE, &question, job.deadline).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], _: Arc<dyn TransferBackend>) -> Result<Restored> {
        let question = Restoring { place: self.place.clone(), job: job.clone(), receipts: receipts.to_vec() };
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
