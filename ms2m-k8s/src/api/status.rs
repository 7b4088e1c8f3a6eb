//! What the controller answers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use ms2m_core::Phase;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a migration stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulMigrationStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "phase")]
    pub phase: Option<Phase>,
    /// One sentence for people: why it waits, or why it did not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `Accepted`, `Waiting`, `TargetPrepared`, `StateExact`, `Completed`, `RolledBack`, `Cancelled`, `NeedsAttention`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The node of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_node: Option<String>,
    /// Which pod of that name it is.
    #[serde(rename = "sourcePodUID", skip_serializing_if = "Option::is_none")]
    pub source_pod_uid: Option<String>,
    /// The copy's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_pod: Option<String>,
    /// Its node, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_node: Option<String>,
    /// The consumer's container, whose state moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// All containers whose state moves, in the pod's order, where that are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_names: Vec<String>,
    /// The StatefulSet that owns the source, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stateful_set_name: Option<String>,
    /// The Deployment that owns the source, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<String>,
    /// Where the StatefulSet's next pod of that name shall come to, while that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementStatus>,
    /// The checkpoint, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointStatus>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    /// How long each phase that has ended took, as in `0.164s`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub phase_timings: BTreeMap<String, String>,
    /// When the engine has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The report, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub report: Option<Value>,
    /// The engine's own state as JSON, from which it goes on after a crash. Not for people. A text, because the API server keeps account of every field of an
    /// object at each write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// What the admission policy of `deploy/` does to a pod that a StatefulSet makes anew: it comes to this node, and waits for its checkpoint there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// The pod's name.
    pub pod_name: String,
    /// The node, by its label `kubernetes.io/hostname`.
    pub hostname: String,
    /// The class of runtime that can restore, in place of the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

/// The checkpoint that travels.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// The migration, which is its name.
    pub id: String,
    /// Of what has arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its size, all parts together.
    pub bytes: u64,
}

/// How far a migration is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgressStatus {
    /// In a few words.
    pub summary: String,
    /// Bytes of the present part that are on their way.
    pub bytes_done: u64,
    /// Of so many.
    pub bytes_total: u64,
    /// Messages that the source has applied.
    pub applied: u64,
    /// Messages that the copy has applied.
    pub replayed: u64,
    /// Messages that the copy is behind.
    pub lag: u64,
    /// How fast bytes travel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// When the transfer will be done, at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

fn phase(_: &mut SchemaGenerator) -> Schema {
    let phases = [
        Phase::Pending,
        Phase::Checkpointing,
        Phase::Transferring,
        Phase::Restoring,
        Phase::Replaying,
        Phase::Finalizing,
        Phase::Completed,
        Phase::Failed,
    ];
    json_schema!({ "type": "string", "enum": phases.map(|phase| phase.to_string()) })
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
