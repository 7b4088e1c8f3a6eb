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

/// What is known about a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CopyStatus {
    /// It exists. It may be stuck: only its own words in the journal say that it works.
    Present,
    /// It is certain that no process of it is left; also before it was made and after it was discarded.
    Gone,
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
/// - `restore` takes what it needs from `transfer`, whether it was [staged](Self::stage) or not.
/// - [`CopyStatus::Gone`] is only said when it is certain: the migration is rolled back on its word.
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

    /// Waits until [`restore`](Self::restore) would begin at once, for what goes on by itself after [`prepare`](Self::prepare) and takes a time that is
    /// known to be short: a pod that comes up. Optional.
    ///
    /// A source that stands still from its checkpoint on is not frozen before; one that works on is, and its checkpoint travels meanwhile.
    ///
    /// # Errors
    /// When nothing can be restored here any more. The migration rolls back.
    async fn await_ready(&self, job: &RestoreJob) -> Result<()> {
        let _ = job;
        Ok(())
    }

    /// Takes note of a pre-dump round that has arrived, so that it may be unpacked while the source still runs. Optional.
    ///
    /// # Errors
    /// When this round cannot be used. No part will build on it, and it is not given to [`restore`](Self::restore).
    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        let _ = (job, receipt, transfer);
        Ok(())
    }

    /// Makes the copy from what `transfer` has brought: the parts in order, the first one whole, each later one building on
    /// the one before it, [`Part::Final`](crate::Part::Final) last. Without pre-dump it is the only one.
    ///
    /// # Errors
    /// See the contract.
    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored>;

    /// Whether the copy is still there. Asked again and again from [`restore`](Self::restore) until it is the owner.
    ///
    /// # Errors
    /// When that cannot be found out now; never to say that it is gone.
    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus>;

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
