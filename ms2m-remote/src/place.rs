//! What a question is about.

use ms2m_core::MigrationId;
use serde::{Deserialize, Serialize};

/// One container of a pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the pod, and in the checkpoint.
    pub name: String,
    /// Its id at the node's container runtime.
    pub id: String,
}

/// What a checkpoint is taken of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SourcePlace {
    /// For which migration.
    pub migration: MigrationId,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Those of its containers that move, the consumer first.
    pub members: Vec<Member>,
}

/// What a copy is made in.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TargetPlace {
    /// For which migration.
    pub migration: MigrationId,
    /// The copy's namespace.
    pub namespace: String,
    /// The pod that was made for the copy.
    pub pod: String,
    /// Its UID, so that one of its name that was made later is not taken for it.
    pub pod_uid: String,
    /// The containers that are restored; others of the pod start fresh.
    pub containers: Vec<String>,
    /// The node that will send the checkpoint; nobody else is let in with it.
    pub from_node: String,
}

/// How a checkpoint gets to the target.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// Straight to the target's agent.
    Direct {
        /// Its address, `https://HOST:PORT`.
        url: String,
        /// The node that its certificate names.
        node: String,
    },
    /// As an image through a registry, which sees nothing of it but its size.
    Registry {
        /// The repository, without a tag.
        repository: String,
        /// The public key of the target's agent.
        recipient: String,
    },
    /// Through a directory that both agents see; each knows where it has it.
    SharedVolume,
}

impl Way {
    /// As reports name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct { .. } => "direct",
            Self::Registry { .. } => "registry",
            Self::SharedVolume => "shared-volume",
        }
    }
}
