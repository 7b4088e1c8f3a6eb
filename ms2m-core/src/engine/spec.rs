//! What is asked for, and with which drivers.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deadlines::Deadlines;
use super::pre_dump::PreDumpPolicy;
use crate::checkpoint::CheckpointCapability;
use crate::id::{InstanceId, MigrationId};
use crate::replay::HandoverChoice;
use crate::retry::RetryPolicy;

/// One migration as asked for. Never changes once it has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MigrationSpec {
    /// Its name; the key of everything that is done for it.
    pub migration: MigrationId,
    /// The primary queue.
    pub queue: String,
    /// The consumer that works on it now.
    pub source: InstanceId,
    /// The consumer that will.
    pub copy: InstanceId,
    /// Whether the source works on while the copy is made.
    pub mode: HandoverChoice,
    /// Pre-dump rounds before the source is parked; none where the checkpoint driver has no pre-dump.
    pub pre_dump: Option<PreDumpPolicy>,
    /// The bandwidth that transfers may use, in bytes per second; `None`: all there is.
    #[serde(default)]
    pub bytes_per_s_max: Option<NonZeroU64>,
    /// Limits.
    pub deadlines: Deadlines,
    /// Repetitions.
    pub retry: RetryPolicy,
    /// Time between two looks at the copy's progress. It is part of every migration's total.
    pub progress_every: Duration,
    /// Time between two looks at whether the source is still there.
    pub source_every: Duration,
    /// Time between two looks at whether the copy is still there.
    pub copy_every: Duration,
    /// Time between two looks at the journal before the copy lives. The source takes them for the controller's sign of life,
    /// so it must be well below its patience; and an ABORT is noticed by them.
    pub contact_every: Duration,
}

impl MigrationSpec {
    /// A migration with the default mode, limits and repetitions, without pre-dump.
    #[must_use]
    pub fn new(migration: MigrationId, queue: impl Into<String>, source: InstanceId, copy: InstanceId) -> Self {
        Self {
            migration,
            queue: queue.into(),
            source,
            copy,
            mode: HandoverChoice::default(),
            pre_dump: None,
            bytes_per_s_max: None,
            deadlines: Deadlines::default(),
            retry: RetryPolicy::default(),
            progress_every: Duration::from_millis(5),
            source_every: Duration::from_millis(100),
            copy_every: Duration::from_millis(100),
            contact_every: Duration::from_secs(1),
        }
    }
}

/// The drivers at work, as far as the engine and the report want to know them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DriverNames {
    /// [`CheckpointSource::name`](crate::CheckpointSource::name).
    pub checkpoint_source: String,
    /// [`TransferBackend::name`](crate::TransferBackend::name).
    pub transfer_backend: String,
    /// [`RestoreTarget::name`](crate::RestoreTarget::name).
    pub restore_target: String,
    /// What the checkpoint driver can do.
    pub capability: CheckpointCapability,
}
