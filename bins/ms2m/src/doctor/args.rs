//! The options of `ms2m doctor`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use ms2m_criu::doctor::Taker;

use crate::demo::Output;
use crate::kubernetes::ClusterArgs;
use crate::migrate::RuntimeChoice;

/// Options about this machine.
const LOCAL: [&str; 5] = ["source", "against", "runtime", "criu", "work_dir"];

/// What to look at.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("of_a_cluster").args(["pod", "node"]),
    group = ArgGroup::new("which_cluster").args(["context", "kubeconfig"]).multiple(true).requires("of_a_cluster"),
    group = ArgGroup::new("which_pod").args(["to", "namespace"]).multiple(true).requires("pod"),
)]
pub(crate) struct DoctorArgs {
    /// A pod of a cluster: whether it can be moved to another node.
    #[arg(long, value_name = "POD", conflicts_with_all = LOCAL)]
    pub(crate) pod: Option<String>,
    /// The node to which the pod shall move.
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// A node of a cluster: whether pods can move from and to it.
    #[arg(long, value_name = "NODE", conflicts_with_all = LOCAL, conflicts_with_all = ["to", "namespace"])]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// A running container, by name, or a process, by id; without it this machine.
    #[arg(long, value_name = "CONTAINER|PID", conflicts_with = "criu")]
    pub(crate) source: Option<String>,
    /// The container runtime that matters. What it lacks fails; without this option it is a warning.
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeChoice>,
    /// Where the runtime keeps its state, when that is not its default (containerd: /run/containerd/runc/k8s.io).
    #[arg(long, value_name = "DIR", requires = "source")]
    pub(crate) runtime_root: Option<PathBuf>,
    /// Who will take the checkpoint of the source, which decides what CRIU is told.
    #[arg(long, value_enum, default_value_t = TakerChoice::Ms2m, requires = "source")]
    pub(crate) taken_by: TakerChoice,
    /// A checkpoint (archive or directory) whose demands on the CPU are held against this machine.
    #[arg(long, value_name = "ARCHIVE", conflicts_with = "source")]
    pub(crate) against: Option<PathBuf>,
    /// The CRIU program.
    #[arg(long, value_name = "PATH", default_value = "criu")]
    pub(crate) criu: PathBuf,
    /// Where checkpoints are written.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ms2m")]
    pub(crate) work_dir: PathBuf,
    /// How to tell it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Who takes the checkpoint.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TakerChoice {
    /// ms2m, which asks CRIU to carry what it can
    Ms2m,
    /// The runtime's command `checkpoint`, as the kubelet uses it: the runtime's file in /etc/criu counts
    Runtime,
}

impl From<TakerChoice> for Taker {
    fn from(choice: TakerChoice) -> Self {
        match choice {
            TakerChoice::Ms2m => Self::Ms2m,
            TakerChoice::Runtime => Self::Runtime,
        }
    }
}
