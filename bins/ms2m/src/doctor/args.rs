//! The options of `ms2m doctor`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ms2m_criu::doctor::Runtime;

use crate::demo::Output;

/// What to look at.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// A running container, by name, or a process, by id; without it this machine.
    #[arg(long, value_name = "CONTAINER|PID", conflicts_with = "criu")]
    pub(crate) source: Option<String>,
    /// The container runtime that matters. What it lacks fails; without this option it is a warning.
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeChoice>,
    /// Where the runtime keeps its state, when that is not its default (containerd: /run/containerd/runc/k8s.io).
    #[arg(long, value_name = "DIR", requires = "source")]
    pub(crate) runtime_root: Option<PathBuf>,
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

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RuntimeChoice {
    Runc,
    Crun,
}

impl From<RuntimeChoice> for Runtime {
    fn from(choice: RuntimeChoice) -> Self {
        match choice {
            RuntimeChoice::Runc => Self::Runc,
            RuntimeChoice::Crun => Self::Crun,
        }
    }
}
