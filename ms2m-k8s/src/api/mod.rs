//! The resource: `StatefulMigration`, as people write it and as the controller answers in its status.

pub mod annotations;
mod choices;
mod crd;
mod limits;
mod queue;
mod spec;
mod status;

pub use choices::{
    CheckpointDriver, HandoverMode, IdentitySwapMode, MigrationStrategy, Placement, QueueProtocol, ReplayMode, RestoreDriver, TransferMode,
};
pub use crd::{crd, crd_yaml};
pub use limits::{Handover, PreDump, Timeouts};
pub use queue::{BrokerSecretRef, MessageQueueConfig};
pub use spec::{StatefulMigration, StatefulMigrationSpec};
pub use status::{CheckpointStatus, PlacementStatus, ProgressStatus, StatefulMigrationStatus};

/// The API group of the resource, and the prefix of every label and annotation.
pub const GROUP: &str = "migration.ms2m.io";
/// Label on everything that exists because of a migration: its [`MigrationId`](ms2m_core::MigrationId).
pub const MIGRATION_LABEL: &str = "migration.ms2m.io/migration";
/// Annotation on a copy that waits for its checkpoint: the [`MigrationId`](ms2m_core::MigrationId). Taken away with the promotion, so that
/// a later restart is one of the application itself.
pub const RESTORE_FROM: &str = "migration.ms2m.io/restore-from";
/// Annotation beside [`RESTORE_FROM`]: the containers that are restored, separated by commas. The others of the pod start as they always do.
pub const RESTORE_CONTAINER: &str = "migration.ms2m.io/restore-container";
/// Annotation on a pod that was made from an image of a checkpoint: the application's own image, for which the container's image is another name since.
pub const BASE_IMAGE: &str = "migration.ms2m.io/base-image";
/// The finalizer that lets a deletion wait until a migration has ended.
pub const FINALIZER: &str = "migration.ms2m.io/roll-back";
/// Label on a migration that has something to say when a StatefulSet makes a pod anew: see [`PlacementStatus`].
pub const PLACES: &str = "migration.ms2m.io/places";
/// Annotation on a copy that serves while the StatefulSet's own pod is not there: the name of that pod.
pub const STANDS_IN_FOR: &str = "migration.ms2m.io/stands-in-for";
/// Annotation on a pod that the admission policy has placed: the node's `kubernetes.io/hostname` that it has written into the pod's selector. The next
/// copy is not held there.
pub const PLACED_ON: &str = "migration.ms2m.io/placed-on";
/// Annotation in the template of a Deployment, and on its pods: the node's `kubernetes.io/hostname` to which a migration has [pinned](Placement::Pin) it.
pub const PINNED_TO: &str = "migration.ms2m.io/pinned-to";
