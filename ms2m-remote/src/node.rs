//! [`Node`]: what an agent has.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{CheckpointSource, MigrationId, RestoreTarget, Result, TransferBackend};

use crate::place::{Restores, SourcePlace, TargetPlace, Way};

/// The drivers of one node.
///
/// # Contract
/// - Whoever is asked for the same place again answers with a driver that goes on with what an earlier one has begun, also after a restart
///   of the agent. Where a driver remembers something between calls (what its last dump has left), it is the same driver.
/// - A driver that is dropped in the middle of a call leaves what can be repeated or discarded.
#[async_trait]
pub trait Node: fmt::Debug + Send + Sync + 'static {
    /// Who takes checkpoints of this pod.
    ///
    /// # Errors
    /// When the pod's containers cannot be checkpointed here.
    async fn source(&self, place: &SourcePlace) -> Result<Arc<dyn CheckpointSource>>;

    /// Who makes the copy in this pod.
    ///
    /// # Errors
    /// When this node does not restore.
    async fn target(&self, place: &TargetPlace) -> Result<Arc<dyn RestoreTarget>>;

    /// What it makes copies by.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn restores(&self) -> Result<Restores>;

    /// The way from here to the target.
    ///
    /// # Errors
    /// When this node has no such way.
    async fn way(&self, way: &Way) -> Result<Arc<dyn TransferBackend>>;

    /// What has arrived here, on this way.
    ///
    /// # Errors
    /// When this node has no such way.
    async fn arrived(&self, way: &Way) -> Result<Arc<dyn TransferBackend>>;

    /// For whom to encrypt what only this node may read.
    ///
    /// # Errors
    /// When it cannot keep a key.
    async fn recipient(&self) -> Result<String>;

    /// A checkpoint for this place may come from now on, from the node that the place names and from nobody else.
    ///
    /// # Errors
    /// When that cannot be noted.
    async fn expect(&self, place: &TargetPlace) -> Result<()>;

    /// The source's part is over, and nothing is kept for it. Missing is `Ok`.
    async fn source_done(&self, migration: &MigrationId);

    /// Nothing more is expected for this migration. Missing is `Ok`.
    ///
    /// # Errors
    /// When that cannot be noted.
    async fn target_done(&self, migration: &MigrationId) -> Result<()>;
}
