//! [`RestoreTarget`]: where the copy comes to life.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::{InstanceId, MigrationId};
use crate::transfer::{Receipt, TransferBackend};

/// One copy to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestoreJob {
    /// Whose copy it is.
    pub migration: MigrationId,
    /// Who the copy will be. It learns this after the thaw, from its surroundings.
    pub copy: InstanceId,
    /// How long the call may take.
    pub deadline: Duration,
}

/// A copy that is alive and parked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restored {
    /// Who it is.
    pub copy: InstanceId,
    /// From the call to the copy's first instruction, as measured by the driver.
    pub restore: Duration,
}

/// Makes the copy.
///
/// # Contract
/// - The copy wakes parked: it does nothing visible before the journal tells it to.
/// - After `Err` of [`restore`](Self::restore) no second live copy exists.
/// - Every call is idempotent by migration id. `restore` called again answers with the living copy.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RestoreTarget: fmt::Debug + Send + Sync + 'static {
    /// The driver's name in reports, for example `memory`, `process`, `local`, `runtime`, `image`.
    fn name(&self) -> &'static str;

    /// Everything that can be done before the checkpoint exists: placement, sandbox, base image.
    ///
    /// # Errors
    /// After an error nothing is left behind.
    async fn prepare(&self, job: &RestoreJob) -> Result<()>;

    /// Makes the copy from what `transfer` has brought.
    ///
    /// # Errors
    /// See the contract.
    async fn restore(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<Restored>;

    /// Makes the copy the owner's own instance: labels, names, endpoints. Called once the copy owns the queue.
    ///
    /// # Errors
    /// It is called again until it succeeds; the migration does not roll back any more.
    async fn promote(&self, migration: &MigrationId) -> Result<()>;

    /// Ends the copy and what was prepared for it. Missing is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that no process of the copy is left.
    async fn discard(&self, migration: &MigrationId) -> Result<()>;
}
