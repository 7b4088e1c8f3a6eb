//! What is asked for.
// The derived schema has structs of its own within functions, and each column has a type.
#![allow(unreachable_pub, clippy::duplicated_attributes)]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::choices::{CheckpointDriver, IdentitySwapMode, MigrationStrategy, Placement, ReplayMode, RestoreDriver, TransferMode};
use super::limits::{Handover, PreDump, Timeouts};
use super::queue::MessageQueueConfig;
use super::status::StatefulMigrationStatus;

/// One move of one pod. It never changes: another move is another resource.
#[derive(CustomResource, KubeSchema, Clone, PartialEq, Debug, Serialize, Deserialize)]
#[kube(
    group = "migration.ms2m.io",
    version = "v1alpha1",
    kind = "StatefulMigration",
    doc = "Moves a running consumer with its state to another node. Deleting it before the queue has changed hands rolls the migration back.",
    namespaced,
    status = "StatefulMigrationStatus",
    shortname = "sm",
    derive = "PartialEq",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.sourcePod"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.targetNode"),
    printcolumn(name = "Copy", type_ = "string", json_path = ".status.targetPod", priority = 1),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.summary"),
    printcolumn(
        name = "Gap ms",
        type_ = "number",
        json_path = ".status.report.durations_ms.cutover_gap",
        description = "The time in which nobody served although a message was there"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("spec cannot be changed: delete this migration, which rolls it back, and create another one"),
    validation = Rule::new("self.transferMode != 'Registry' || has(self.checkpointImageRepository)").message(
        "checkpointImageRepository is required with transferMode Registry"
    )
)]
pub struct StatefulMigrationSpec {
    /// The pod to move, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253))]
    pub source_pod: String,
    /// The container whose state moves; the first one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container_name: Option<String>,
    /// The node to move to; the scheduler's choice unless given, and never the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub target_node: Option<String>,
    /// Unless given: Sequential for a pod of a StatefulSet that is annotated with `migration.ms2m.io/identity: uid`, where the targetNode is named;
    /// else ShadowPod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_strategy: Option<MigrationStrategy>,
    /// Where later pods of the workload go. Pin is for a Deployment of one pod: its template requires the copy's node then, and no rollout comes of it.
    #[serde(default)]
    pub placement: Placement,
    /// How the checkpoint travels.
    #[serde(default)]
    pub transfer_mode: TransferMode,
    /// The repository for checkpoints, without a tag: required with Registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub checkpoint_image_repository: Option<String>,
    /// Whether the state ends in a pod of the source's name.
    #[serde(default)]
    pub identity_swap_mode: IdentitySwapMode,
    /// What happens when the copy does not catch up.
    #[serde(default)]
    pub replay_mode: ReplayMode,
    /// How long the copy may take to catch up, in place of `timeouts.replayingSeconds`; 0 is none of its own. Past it the migration
    /// rolls back: nothing is dropped.
    #[serde(default)]
    #[schemars(range(max = 86400))]
    pub replay_cutoff_seconds: u32,
    /// The queue.
    pub message_queue_config: MessageQueueConfig,
    /// How the copy is made.
    #[serde(default)]
    pub restore_driver: RestoreDriver,
    /// How the checkpoint is taken.
    #[serde(default)]
    pub checkpoint_driver: CheckpointDriver,
    /// Pre-dump rounds.
    #[serde(default)]
    pub pre_dump: PreDump,
    /// The hand-over.
    #[serde(default)]
    pub handover: Handover,
    /// How long each part may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// The bandwidth that the transfer may use; all there is unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bytes_per_second_max: Option<u64>,
    /// When this resource removes itself after it has ended; never unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 31536000))]
    pub ttl_seconds_after_finished: Option<u32>,
}
