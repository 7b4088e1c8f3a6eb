//! What can be asked of a cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::demo::Output;

/// Which cluster, and where in it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterArgs {
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Which cluster.
#[derive(Args, Clone, Debug)]
pub(crate) struct AccessArgs {
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the account of the pod in which this runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// The move of a pod: what the resource asks for beside the pod.
#[derive(Args, Clone, Debug)]
pub(crate) struct MoveArgs {
    /// The node to move the pod to [default: the scheduler's choice]
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// The Secret with the broker's URL, and the key in it [default: the pod's annotation migration.ms2m.io/broker-secret; key `url`]
    #[arg(long, value_name = "NAME[/KEY]", conflicts_with = "broker")]
    pub(crate) broker_secret: Option<String>,
    /// The pod's container whose state moves [default: the first one]
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// In which order source and copy live [default: sequential for a pod of a StatefulSet that knows itself by its UID, else shadow-pod]
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<StrategyChoice>,
    /// Hold the workload's later pods on the copy's node, too: its Deployment requires that node then
    #[arg(long)]
    pub(crate) pin: bool,
    /// How the copy is made [default: by the target node's ms2m-runtime, or from an image where it has none]
    #[arg(long, value_enum)]
    pub(crate) restore_driver: Option<RestoreChoice>,
    /// How the checkpoint is taken [default: by the agent of the source's node]
    #[arg(long, value_enum)]
    pub(crate) checkpoint_driver: Option<CheckpointChoice>,
    /// Do not wait for the end
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// How the copy is made.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RestoreChoice {
    /// By the target node's ms2m-runtime
    Runtime,
    /// By its container runtime alone, from an image of the checkpoint
    Image,
}

/// How the checkpoint is taken.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckpointChoice {
    /// By the agent of the source's node, with CRIU
    Runtime,
    /// By the node's container runtime, as kubelet has it take one
    Kubelet,
}

/// In which order source and copy live.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StrategyChoice {
    /// The copy is made beside the running source; the state of a StatefulSet's pod then goes on to the pod of its name, and both moves are reported
    ShadowPod,
    /// The source ends when its checkpoint has arrived, and the StatefulSet's next pod is the copy
    Sequential,
}

/// `ms2m list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Of all namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// How it is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `ms2m describe`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DescribeArgs {
    /// The migration
    pub(crate) migration: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// How it is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `ms2m cancel`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CancelArgs {
    /// The migration
    pub(crate) migration: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Do not wait until it is rolled back
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `ms2m report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArgs {
    /// The migration
    pub(crate) migration: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// How it is told
    #[arg(long, value_enum, default_value_t = ReportOutput::Text)]
    pub(crate) output: ReportOutput,
}

/// How a report is told.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReportOutput {
    /// For people
    Text,
    /// For programs
    Json,
    /// A table, for a page
    Md,
    /// A picture of the timeline
    Svg,
}
