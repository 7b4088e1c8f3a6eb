//! What can be chosen about a migration.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ms2m_criu::runtime::Flavor;

use crate::backend::BackendArgs;
use crate::demo::{Mode, Output, QueueType};

/// `ms2m migrate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MigrateArgs {
    /// Move on this machine
    #[arg(long, required = true)]
    pub(crate) local: bool,
    /// The container to move, by its name in the runtime; with `--runtime process` a process, by its id. Given more than once, they move
    /// together, with the connections between them; the first one is who consumes
    #[arg(long = "source", value_name = "CONTAINER|PID", required = true)]
    pub(crate) sources: Vec<String>,
    /// Whose container it is
    #[arg(long, value_enum, default_value_t = SourceKind::Runc)]
    pub(crate) runtime: SourceKind,
    /// The runtime's state directory, if it is not its own default
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_root: Option<PathBuf>,
    /// The copy's name: of the container, and of the instance [default: the source's with a random ending]. Several containers get it
    /// as their names' beginning
    #[arg(long, value_name = "NAME")]
    pub(crate) copy: Option<String>,
    /// A bundle prepared for the copy [default: one like the source's]
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// A network namespace prepared for the copy, by its file [default: for several that share one, a new one with loopback only]
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Option<PathBuf>,
    /// The file (in the container) from which the application learns which instance it is
    #[arg(long, value_name = "FILE", default_value = ms2m_criu::local::IDENTITY_FILE)]
    pub(crate) identity_file: PathBuf,
    /// The RabbitMQ that the container consumes from, as amqp://user:password@host:5672/vhost. Without, it stands still until the
    /// copy goes on in its place
    #[arg(long, value_name = "URL", env = "MS2M_BROKER", hide_env_values = true, requires = "queue")]
    pub(crate) broker: Option<String>,
    /// RabbitMQ's management API [default: http://HOST:15672 if it answers there]
    #[arg(long, value_name = "URL", requires = "broker")]
    pub(crate) management: Option<String>,
    /// The queue that it consumes
    #[arg(long, requires = "broker")]
    pub(crate) queue: Option<String>,
    /// Type of the queue
    #[arg(long, value_enum, default_value_t = QueueType::Quorum)]
    pub(crate) queue_type: QueueType,
    /// The queue was declared with a single active consumer
    #[arg(long)]
    pub(crate) single_active_consumer: bool,
    /// Whether the source works on while its copy is made (chase) or stands still (hold)
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,
    /// How the checkpoint gets to the copy
    #[arg(long, value_enum, default_value_t = TransferChoice::SharedVolume)]
    pub(crate) transfer: TransferChoice,
    /// The agent to send to, for --transfer direct
    #[arg(long, value_name = "URL", required_if_eq("transfer", "direct"))]
    pub(crate) agent: Option<String>,
    /// The repository to go through, for --transfer registry; encrypted for this migration alone unless --unsealed
    #[arg(long, value_name = "HOST[:PORT]/NAME", required_if_eq("transfer", "registry"))]
    pub(crate) repository: Option<String>,
    /// Up to so many pre-dump rounds while the source works, so that little is left to dump while it is frozen
    #[arg(long, value_name = "ROUNDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) pre_dump: u32,
    /// Checkpoints and the copy's bundle are kept there; it must lie on a file system that can hold an overlay's upper directory
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ms2m")]
    pub(crate) work_dir: PathBuf,
    /// The migration's name [default: a random one]. One that was begun goes on where it was
    #[arg(long, value_name = "NAME")]
    pub(crate) migration: Option<String>,
    /// How long the copy may take to come to life
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) restore_within: u64,
    /// The CRIU program
    #[arg(long, value_name = "PROGRAM", default_value = "criu")]
    pub(crate) criu: PathBuf,
    #[command(flatten)]
    pub(crate) way: BackendArgs,
    /// What is printed at the end
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

impl MigrateArgs {
    /// Who consumes. clap sees to it that there is one.
    pub(super) fn source(&self) -> &str {
        self.sources.first().map_or("", String::as_str)
    }
}

/// What is moved.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SourceKind {
    /// A container of runc
    Runc,
    /// A container of crun
    Crun,
    /// No container: a process with everything that it has started
    Process,
}

impl SourceKind {
    /// The runtime, if there is one.
    pub(super) fn runtime(self) -> Option<Flavor> {
        match self {
            Self::Runc => Some(Flavor::Runc),
            Self::Crun => Some(Flavor::Crun),
            Self::Process => None,
        }
    }
}

/// Which runtime.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RuntimeChoice {
    Runc,
    Crun,
}

/// Which transfer.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TransferChoice {
    /// Through a directory below the work directory
    SharedVolume,
    /// To an agent, over mutual TLS
    Direct,
    /// Through an OCI registry
    Registry,
}

impl From<RuntimeChoice> for Flavor {
    fn from(choice: RuntimeChoice) -> Self {
        match choice {
            RuntimeChoice::Runc => Self::Runc,
            RuntimeChoice::Crun => Self::Crun,
        }
    }
}
