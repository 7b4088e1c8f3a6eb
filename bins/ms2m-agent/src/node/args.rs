//! Options of what the agent does for controllers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ms2m_criu::runtime::{Flavor, Runtime};

/// The OCI runtime of the node's containers.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum RuntimeName {
    Runc,
    Crun,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// The controllers, by the names in their certificates, that may have pods of this node checkpointed and restored (as root)
    #[arg(long, env = "MS2M_CONTROLLERS", value_delimiter = ',', value_name = "NAME")]
    pub(crate) controllers: Vec<String>,

    /// The OCI runtime of the node's containers
    #[arg(long, env = "MS2M_RUNTIME", value_enum, default_value_t = RuntimeName::Runc)]
    runtime: RuntimeName,

    /// Its program [default: the one found by its name]
    #[arg(long, env = "MS2M_RUNTIME_PROGRAM", value_name = "FILE")]
    runtime_program: Option<PathBuf>,

    /// Where it keeps what it knows of the containers of Kubernetes
    #[arg(long, env = "MS2M_RUNTIME_ROOT", value_name = "DIR", default_value = "/run/containerd/runc/k8s.io")]
    runtime_root: PathBuf,

    /// CRIU
    #[arg(long, env = "MS2M_CRIU", value_name = "FILE", default_value = "criu")]
    pub(crate) criu: PathBuf,

    /// Where checkpoints are while they are taken and restored; on a disk with room for the memory of what is migrated
    #[arg(long, env = "MS2M_WORK_DIR", value_name = "DIR", default_value = "/var/lib/ms2m/node")]
    pub(crate) work_dir: PathBuf,

    /// The socket at which ms2m-runtime asks
    #[arg(long, env = "MS2M_RUNTIME_SOCKET", value_name = "FILE", default_value = "/run/ms2m/runtime.sock")]
    pub(crate) runtime_socket: PathBuf,

    /// The socket of the node's container runtime, where copies are made from images (restoreDriver Image) and kubelet's way of taking checkpoints is used
    /// (checkpointDriver Kubelet)
    #[arg(long, env = "MS2M_CRI_SOCKET", value_name = "FILE", default_value = "/run/containerd/containerd.sock")]
    pub(crate) cri_socket: PathBuf,

    #[command(flatten)]
    pub(crate) ways: WayArgs,
}

/// What a checkpoint may need on its way, beside the agents.
#[derive(Args, Clone, Debug)]
pub(crate) struct WayArgs {
    /// A directory that all agents see, for transferMode SharedVolume
    #[arg(long, env = "MS2M_SHARED_VOLUME", value_name = "DIR")]
    pub(crate) shared_volume: Option<PathBuf>,

    /// For registries: certificates (PEM) of authorities that are trusted besides the system's. Logins are those of `docker login`
    #[arg(long, env = "MS2M_REGISTRY_AUTHORITY", value_name = "FILE")]
    pub(crate) registry_authority: Option<PathBuf>,

    /// For registries: HTTP without TLS. Checkpoints are encrypted for their target all the same
    #[arg(long, env = "MS2M_REGISTRY_PLAIN_HTTP")]
    pub(crate) registry_plain_http: bool,
}

impl NodeArgs {
    pub(crate) fn runtime(&self) -> Runtime {
        let runtime = Runtime::new(match self.runtime {
            RuntimeName::Runc => Flavor::Runc,
            RuntimeName::Crun => Flavor::Crun,
        });
        let runtime = runtime.with_root(&self.runtime_root);
        match &self.runtime_program {
            Some(program) => runtime.with_program(program),
            None => runtime,
        }
    }

    /// The file that names the migrations of which something is expected.
    pub(crate) fn live_file(&self) -> PathBuf {
        self.work_dir.join("live.json")
    }
}
