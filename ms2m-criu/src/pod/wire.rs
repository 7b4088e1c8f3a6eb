//! What a waiting runtime and the agent say to each other: lines of JSON on a socket of the node.

use std::path::PathBuf;

use ms2m_core::MigrationId;
use serde::{Deserialize, Serialize};

use crate::archive::ContainerManifest;

/// Longest line, in bytes. A manifest has a line for each mount.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 20;

/// The runtime's first word: who waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// For which migration.
    pub migration: MigrationId,
    /// Its name in the pod.
    pub container: String,
    /// Its id at the engine.
    pub id: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// Its cgroup's name, below each hierarchy.
    pub cgroup: String,
    /// The file that says that this container is created as usual from now on.
    pub marker: PathBuf,
    /// The file of the network namespace that it joins: its pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PathBuf>,
    /// It knows [`Order::Launch`].
    #[serde(default)]
    pub launches: bool,
}

/// The agent's answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Its migration is under way: go as far as that is possible without a checkpoint, and wait for another order.
    Launch {
        /// An empty directory on the file system of what is restored from later.
        images: PathBuf,
        /// What the standard streams are at the source.
        descriptors: Vec<String>,
    },
    /// Restore it from this directory (`containers/NAME` of a checkpoint).
    Restore {
        /// The directory.
        directory: PathBuf,
        /// What is in it.
        manifest: Box<ContainerManifest>,
        /// Whether the connections that its images hold come up as they were. Who says so has locked them until their other ends are there.
        #[serde(default)]
        connected: bool,
    },
    /// Do not make it.
    Refuse {
        /// Why.
        reason: String,
    },
}

/// The runtime's last word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It runs.
    Restored {
        /// From the order to the first instruction.
        restore_us: u64,
    },
    /// It does not, and nothing of it is left.
    Failed {
        /// Why.
        message: String,
    },
}
