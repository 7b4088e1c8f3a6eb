//! What can be chosen by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
    };
}

choice!(
    /// In which order source and copy live.
    MigrationStrategy {
        /// The copy is made beside the running source.
        #[default]
        ShadowPod,
        /// The source is stopped first, so that its name is free.
        Sequential,
    }
);
choice!(
    /// How the checkpoint travels.
    TransferMode {
        /// As an image, through a registry.
        #[default]
        Registry,
        /// From node to node.
        Direct,
        /// Through a directory that both nodes see.
        SharedVolume,
    }
);
choice!(
    /// Whether the state ends in a pod of the source's name. Accepted from older manifests: it does for every pod of a StatefulSet, which have
    /// names worth keeping, and for no other.
    IdentitySwapMode {
        /// What fits the owner.
        #[default]
        None,
        /// By an exact hand-over.
        Cutoff,
        /// By an exact hand-over, too: a name of older manifests.
        ExchangeFence,
    }
);
choice!(
    /// What happens when the copy does not catch up. Nothing is ever dropped.
    ReplayMode {
        /// After `replayCutoffSeconds` the migration rolls back.
        #[default]
        Cutoff,
    }
);
choice!(
    /// Which log decides about positions.
    QueueProtocol {
        /// What fits the queue.
        #[default]
        Auto,
        /// The source journals what it applies: for queues.
        Journal,
        /// The queue is a log itself: for streams.
        Offset,
        /// A relay orders the messages: for consumers without the SDK.
        Relay,
    }
);
choice!(
    /// Where the workload's later pods go.
    Placement {
        /// Wherever the scheduler likes: nothing of the workload is changed.
        #[default]
        Free,
        /// To the copy's node, too: the Deployment's template requires it, without a rollout.
        Pin,
    }
);
choice!(
    /// How the copy is made.
    RestoreDriver {
        /// By the wrapper where the target node has it; else from an image.
        #[default]
        Auto,
        /// By the node's wrapper of the OCI runtime.
        Runtime,
        /// By the node's container runtime alone, from an image of the checkpoint.
        Image,
    }
);
choice!(
    /// How the checkpoint is taken.
    CheckpointDriver {
        /// By the node's agent.
        #[default]
        Auto,
        /// By the node's container runtime, as kubelet's checkpoint call has it do; for a copy that is made from an image.
        Kubelet,
        /// By the node's agent and CRIU.
        Runtime,
    }
);
choice!(
    /// What the source does between its checkpoint and the hand-over.
    HandoverMode {
        /// Chase where the consumer says that it is deterministic, else Hold.
        #[default]
        Auto,
        /// It works on, and the copy catches up.
        Chase,
        /// It waits.
        Hold,
    }
);

impl From<HandoverMode> for ms2m_core::HandoverChoice {
    fn from(mode: HandoverMode) -> Self {
        match mode {
            HandoverMode::Auto => Self::Auto,
            HandoverMode::Chase => Self::Chase,
            HandoverMode::Hold => Self::Hold,
        }
    }
}
