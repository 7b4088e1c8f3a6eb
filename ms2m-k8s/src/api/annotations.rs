//! Annotations by which a pod says what moves and what it consumes, so that nobody has to name it, and a whole node can be emptied.
//!
//! They belong into the template of the workload. A copy keeps them.

/// The queue that the pod consumes. A pod that has it is opted in.
pub const QUEUE: &str = "migration.ms2m.io/queue";
/// The Secret with the broker's URL, in the pod's namespace: `NAME` or `NAME/KEY`; the key is `url` unless given.
pub const BROKER_SECRET: &str = "migration.ms2m.io/broker-secret";
/// RabbitMQ's management API, where it is not at port 15672 of the broker's host.
pub const MANAGEMENT_URL: &str = "migration.ms2m.io/management-url";
/// The consumer's container, whose state moves; the first one unless given.
pub const CONTAINER: &str = "migration.ms2m.io/container";
/// The containers whose state moves, with the TCP connections between them, separated by commas: the consumer's and others beside it; that one alone unless
/// given. All others of the pod start fresh.
pub const CONTAINERS: &str = "migration.ms2m.io/containers";
/// By what the consumer knows itself: `hostname` (where it is not given) or `uid`, the pod's UID in a file of the downward API.
pub const IDENTITY: &str = "migration.ms2m.io/identity";
/// The opt-in to pre-dump of older manifests.
pub(crate) const PRE_DUMP: &str = "migration.ms2m.io/predump-enabled";

/// The user's word, which goes with the workload.
pub(crate) const KEPT: [&str; 7] = [QUEUE, BROKER_SECRET, MANAGEMENT_URL, CONTAINER, CONTAINERS, IDENTITY, PRE_DUMP];
