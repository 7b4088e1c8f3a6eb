//! The command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::agent::AgentArgs;
use crate::demo::DemoArgs;
use crate::demo::processes::consumer::ConsumerArgs;
use crate::demo::processes::publisher::PublisherArgs;
use crate::doctor::DoctorArgs;
use crate::inspect::InspectArgs;
use crate::kubernetes::{CancelArgs, DescribeArgs, DrainArgs, ListArgs, ReportArgs};
use crate::migrate::MigrateArgs;
use crate::pack::PackArgs;
use crate::transfer::TransferArgs;

/// Moves stateful message consumers while they serve, and proves that nothing was lost, doubled or reordered.
///
/// Exit status: 0 done, 1 failed with nothing changed, 2 bad usage, 3 rolled back (the source runs on), 4 finished but not
/// proven exact, 5 the source has ended by an accident and nobody consumes.
#[derive(Parser, Debug)]
#[command(name = "ms2m", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Move a stateful consumer while publishers go on, and audit it.
    ///
    /// Without options everything runs inside this process: no root, no network, done in seconds. With --broker it runs on a
    /// real RabbitMQ, and consumers and publishers are processes of their own.
    Demo(DemoArgs),
    /// Move a pod to another node, or with --local a running container to a copy of it on this machine, while it keeps serving its queue.
    ///
    /// The copy is made beside the source, replays what the source has applied meanwhile, takes the queue over, and the source is removed.
    /// Whatever goes wrong before the take-over is undone: the source goes on. A pod is moved by the cluster's ms2m-controller, which this
    /// asks for and follows. --local needs root, CRIU and runc or crun; `ms2m doctor` says what is missing.
    Migrate(Box<MigrateArgs>),
    /// Empty a node of a cluster: move its opted-in pods, then evict the others.
    ///
    /// Opted in is a pod with the annotations migration.ms2m.io/queue and migration.ms2m.io/broker-secret. The node is cordoned, each of
    /// them is moved by a migration of its own, some at a time, and when all have moved the others are evicted as `kubectl drain` does it:
    /// PodDisruptionBudgets are respected, pods of DaemonSets and static pods stay. An opted-in pod that cannot move is never evicted: it
    /// runs on, nothing else is evicted, and the node stays cordoned. The first Ctrl-C begins nothing more and waits for the migrations
    /// under way, the second leaves at once; migrations go on in the cluster either way, and the same command goes on from there.
    ///
    /// Exit status: 0 drained, 1 refused with nothing changed, 3 not drained and still cordoned, 4 drained, but one of the moved pods is
    /// not proven exact.
    Drain(DrainArgs),
    /// Say what this machine can checkpoint and restore, or what stands in the way of one container or process, or with --pod or
    /// --node of a cluster's pod or node.
    ///
    /// One line each: result, check, reason, remedy. Exit status 1 when something fails. Changes nothing.
    Doctor(Box<DoctorArgs>),
    /// Tell what is in a checkpoint, and whether it can be restored here.
    ///
    /// Processes, memory, files, sockets, mounts, statistics, and the environment with its secrets hidden; then one line for each thing
    /// that decides about a restore on this machine. Needs no root. Exit status 0 when the checkpoint could be read, whatever the verdict.
    Inspect(InspectArgs),
    /// Make an OCI image of a checkpoint archive, in an image layout.
    ///
    /// The archive is the image's layer as it stands, so this is one pass of SHA-256: skopeo, umoci, buildah and `ctr images import` take
    /// the layout, CRI-O and containerd know the image for a checkpoint. An archive that breaks a rule of archives is refused. A layout
    /// that is there gets another tag.
    Pack(PackArgs),
    /// Send a checkpoint archive to a directory, to an agent or into a registry.
    ///
    /// Its digest is checked before it becomes visible there. Repeats what is worth repeating, and goes on where it broke off where
    /// the other side can.
    Transfer(TransferArgs),
    /// List the migrations of a cluster.
    List(ListArgs),
    /// Say how a migration of a cluster stands.
    Describe(DescribeArgs),
    /// Roll a migration of a cluster back, and remove it. One that has ended is not undone.
    Cancel(CancelArgs),
    /// Tell what became of a migration of a cluster: its timeline and its counts.
    Report(ReportArgs),
    /// Ask a node's agent how it is and what it holds, or have it discard something.
    #[command(subcommand_required = true)]
    Agent(AgentArgs),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// A consumer of a demo.
    #[command(hide = true)]
    DemoConsumer(ConsumerArgs),
    /// A publisher of a demo.
    #[command(hide = true)]
    DemoPublisher(PublisherArgs),
}

impl Command {
    /// What is logged unless `RUST_LOG` says otherwise. Where faults are asked for, warnings about them help nobody.
    pub(crate) fn log_filter(&self) -> &'static str {
        match self {
            Self::Demo(arguments) if arguments.has_faults() => "error,lapin=off",
            // lapin calls every refused question an error.
            _ => "warn,lapin=off",
        }
    }
}
