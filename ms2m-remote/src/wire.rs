//! What controller and agent say to each other. Both sides take every name from here.

use std::num::NonZeroU64;

use ms2m_core::{CheckpointCapability, CheckpointJob, MigrationId, Receipt, RestoreJob, TransferJob};
use serde::{Deserialize, Serialize};

use crate::place::{SourcePlace, TargetPlace, Way};

/// One route for each call of the traits.
pub(crate) mod path {
    pub(crate) const DESCRIBE: &str = "/v1/node/source/describe";
    pub(crate) const SOURCE_STATUS: &str = "/v1/node/source/status";
    pub(crate) const PRE_DUMP: &str = "/v1/node/source/pre-dump";
    pub(crate) const CHECKPOINT: &str = "/v1/node/source/checkpoint";
    pub(crate) const SEND: &str = "/v1/node/source/send";
    pub(crate) const RETIRE: &str = "/v1/node/source/retire";
    pub(crate) const DISCARD_SOURCE: &str = "/v1/node/source/discard";

    pub(crate) const RESTORES: &str = "/v1/node/target/restores";
    pub(crate) const PREPARE: &str = "/v1/node/target/prepare";
    pub(crate) const STAGE: &str = "/v1/node/target/stage";
    pub(crate) const RESTORE: &str = "/v1/node/target/restore";
    pub(crate) const TARGET_STATUS: &str = "/v1/node/target/status";
    pub(crate) const PROMOTE: &str = "/v1/node/target/promote";
    pub(crate) const DISCARD_TARGET: &str = "/v1/node/target/discard";
    pub(crate) const RECIPIENT: &str = "/v1/node/target/recipient";

    pub(crate) const DISCARD_TRANSFER: &str = "/v1/node/transfer/discard";
}

/// A driver, as reports name it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) capability: CheckpointCapability,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PreDumping {
    pub(crate) place: SourcePlace,
    pub(crate) job: CheckpointJob,
    pub(crate) round: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Checkpointing {
    pub(crate) place: SourcePlace,
    pub(crate) job: CheckpointJob,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(crate) place: SourcePlace,
    pub(crate) job: TransferJob,
    pub(crate) way: Way,
    /// The bandwidth that it may use; `None`: all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_s_max: Option<NonZeroU64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Forgetting {
    pub(crate) migration: MigrationId,
    pub(crate) way: Way,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Preparing {
    pub(crate) place: TargetPlace,
    pub(crate) job: RestoreJob,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Staging {
    pub(crate) place: TargetPlace,
    pub(crate) job: RestoreJob,
    pub(crate) receipt: Receipt,
    pub(crate) way: Way,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Restoring {
    pub(crate) place: TargetPlace,
    pub(crate) job: RestoreJob,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) way: Way,
}
