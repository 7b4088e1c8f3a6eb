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
    /// Those of its containers that move, in the pod's order.
    pub members: Vec<Member>,
    /// Who takes it.
    #[serde(default, skip_serializing_if = "Taker::is_default")]
    pub taker: Taker,
}

/// Who takes a checkpoint, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Taker {
    /// The node's agent, for a copy that ms2m restores.
    #[default]
    Agent,
    /// The node's agent, for a copy that a container runtime restores from an image.
    AgentForImage,
    /// The container runtime, as kubelet has it do.
    Kubelet,
}

impl Taker {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The image from which a copy is made, where it is not made by the node's ms2m-runtime.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FromImage {
    /// The application's own image, as `NAME@DIGEST`.
    pub base: String,
}

/// What a node can make copies by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Restores {
    /// By ms2m-runtime.
    pub runtime: bool,
    /// By its container runtime, from images.
    pub image: bool,
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
    /// The containers that are restored, in the pod's order; others of the pod start fresh.
    pub containers: Vec<String>,
    /// Set when the container runtime makes the copy, from an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<FromImage>,
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
