//! What can be chosen about a migration.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use ms2m_criu::runtime::Flavor;

use crate::backend::BackendArgs;
use crate::demo::{Mode, Output, QueueType};
use crate::kubernetes::MoveArgs;

/// Options that make no sense for a pod.
const LOCAL: [&str; 20] = [
    "local",
    "sources",
    "runtime",
    "runtime_root",
    "copy",
    "bundle",
    "network",
    "identity_file",
    "queue_type",
    "single_active_consumer",
    "agent",
    "work_dir",
    "migration",
    "restore_within",
    "criu",
    "credentials",
    "node",
    "registry_authority",
    "plain_http",
    "unsealed",
];

/// Options that make no sense without a cluster.
const CLUSTER: [&str; 9] =
    ["to", "broker_secret", "container", "restore_driver", "checkpoint_driver", "no_wait", "namespace", "context", "kubeconfig"];

/// `ms2m migrate`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("consuming").args(["broker", "pod"]).multiple(true))]
pub(crate) struct MigrateArgs {
    /// The pod to move, on Kubernetes
    #[arg(value_name = "POD", required_unless_present = "local", conflicts_with_all = LOCAL)]
    pub(crate) pod: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: MoveArgs,
    /// Move on this machine instead
    #[arg(long, conflicts_with_all = CLUSTER)]
    pub(crate) local: bool,
    /// The container to move, by its name in the runtime; with `--runtime process` a process, by its id. Given more than once, they move
    /// together, with the connections between them; the first one is who consumes
    #[arg(long = "source", value_name = "CONTAINER|PID", required_if_eq("local", "true"))]
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
    #[arg(long, value_name = "URL", env = "MS2M_BROKER", hide_env_values = true)]
    pub(crate) broker: Option<String>,
    /// RabbitMQ's management API [default: http://HOST:15672 if it answers there]
    #[arg(long, value_name = "URL", requires = "consuming")]
    pub(crate) management: Option<String>,
    /// The queue that it consumes [default for a pod: its annotation migration.ms2m.io/queue]
    #[arg(long, requires = "consuming")]
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
    /// How the checkpoint gets to the copy [default: shared-volume with --local, direct for a pod]
    #[arg(long, value_enum)]
    pub(crate) transfer: Option<TransferChoice>,
    /// The agent to send to, for --transfer direct
    #[arg(long, value_name = "URL", required_if_eq_all([("transfer", "direct"), ("local", "true")]))]
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn says(words: &str) -> String {
        let words = ["ms2m", "migrate"].into_iter().chain(words.split_whitespace());
        Cli::try_parse_from(words).map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_pod_or_something_local_moves_and_never_both() {
        for fine in [
            "orders-0 --to n2",
            "orders-0",
            "orders-0 --to n2 --queue orders --broker-secret broker/url -n shop --no-wait",
            "orders-0 --queue orders --broker amqp://b --management http://b:15672 --mode hold --transfer registry --repository r:5000/x",
            "--local --source 1",
            "--local --source 1 --broker amqp://b --queue orders --transfer direct --agent https://n2:9443",
        ] {
            assert_eq!(says(fine), "fine", "{fine}");
        }
        for (refused, why) in [
            ("", "<POD>"),
            ("orders-0 --local --source 1", "cannot be used with"),
            ("orders-0 --source 1", "cannot be used with"),
            ("orders-0 --work-dir /x", "cannot be used with"),
            ("--local --source 1 --to n2", "--to"),
            ("--local", "--source"),
            ("--local --source 1 --queue orders", "--broker"),
            ("--local --source 1 --transfer direct", "--agent"),
            ("orders-0 --broker amqp://b --broker-secret s", "cannot be used with"),
        ] {
            let says = says(refused);
            assert!(says.starts_with("error") && says.contains(why), "{refused}: {says}");
        }
    }
}
