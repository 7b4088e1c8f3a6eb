//! [`RemoteSource`].

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, PreDump, Result,
    SourceStatus,
};
use ms2m_transfer_direct::Caller;

use crate::place::SourcePlace;
use crate::wire::{Checkpointing, Described, PreDumping, path};

/// For what has no deadline of its own.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// Takes checkpoints on another node.
#[derive(Debug)]
pub struct RemoteSource {
    agent: Caller,
    place: SourcePlace,
    name: &'static str,
    capability: CheckpointCapability,
}

impl RemoteSource {
    /// Asks the node's agent who takes checkpoints of this pod.
    ///
    /// # Errors
    /// When the agent cannot be reached, or refuses.
    pub async fn open(agent: Caller, place: SourcePlace) -> Result<Self> {
        let Described { name, capability } = agent.call(path::DESCRIBE, &place, WITHIN).await?;
        Ok(Self { agent, place, name: known(&name), capability })
    }

    /// The same without asking, for a source that may be gone already: of a migration that goes on after a crash.
    #[must_use]
    pub fn resumed(agent: Caller, place: SourcePlace, name: &str, capability: CheckpointCapability) -> Self {
        Self { agent, place, name: known(name), capability }
    }
}

/// The drivers that there are.
fn known(name: &str) -> &'static str {
    ["runtime", "kubelet", "process", "snapshot"].into_iter().find(|known| *known == name).unwrap_or("other")
}

#[async_trait]
impl CheckpointSource for RemoteSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capability(&self) -> CheckpointCapability {
        self.capability
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.agent.call(path::SOURCE_STATUS, &self.place, WITHIN).await
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        let question = PreDumping { place: self.place.clone(), job: job.clone(), round };
        self.agent.call(path::PRE_DUMP, &question, job.deadline).await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        let question = Checkpointing { place: self.place.clone(), job: job.clone() };
        self.agent.call(path::CHECKPOINT, &question, job.deadline).await
    }

    /// Yields nothing but an error: the bytes go from node to node, by [`RemoteTransfer`](crate::RemoteTransfer), which does not read this.
    async fn open(&self, checkpoint: &Checkpoint, _: u64) -> Result<ByteStream> {
        let message = "the bytes of this checkpoint stay between the nodes; send it by RemoteTransfer";
        let error = Error::fatal(ErrorKind::Unsupported, message).with("migration", &checkpoint.migration).with("part", checkpoint.part);
        Ok(Box::pin(stream::once(async { Err(error) })))
    }

    async fn retire(&self, _: &MigrationId) -> Result<()> {
        self.agent.call(path::RETIRE, &self.place, WITHIN).await
    }

    async fn discard(&self, _: &MigrationId) -> Result<()> {
        self.agent.call(path::DISCARD_SOURCE, &self.place, WITHIN).await
    }
}
