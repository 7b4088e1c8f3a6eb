//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ms2m_broker::link::QueueKind;
use ms2m_consumer::QueueSpec;

/// Counts the messages of a queue per key.
#[derive(Parser, Debug)]
pub(crate) struct Options {
    /// AMQP URL of the broker.
    #[arg(long, env = "MS2M_BROKER", default_value = "amqp://guest:guest@localhost:5672", hide_env_values = true)]
    pub(crate) broker: String,
    /// URL of its management API [default: port 15672 of the same host].
    #[arg(long, env = "MS2M_MANAGEMENT", hide_env_values = true)]
    pub(crate) management: Option<String>,
    /// The queue, which must exist.
    #[arg(long, env = "MS2M_QUEUE", default_value = "orders")]
    queue: String,
    /// Its type.
    #[arg(long, env = "MS2M_QUEUE_TYPE", value_enum, default_value_t = QueueType::Classic)]
    queue_type: QueueType,
    /// It was declared with x-single-active-consumer.
    #[arg(long)]
    single_active_consumer: bool,
    /// Unacknowledged messages that the broker may have out.
    #[arg(long, default_value_t = 50)]
    pub(crate) prefetch: u16,
    /// A file with the name of this instance: the pod's UID, or /etc/hostname.
    #[arg(long, env = "MS2M_IDENTITY_FILE", default_value = "/etc/hostname")]
    pub(crate) identity_file: PathBuf,
    /// A queue for the counts.
    #[arg(long, env = "MS2M_EFFECTS_TO")]
    pub(crate) effects_to: Option<String>,
    /// Memory to hold beside the counts, in MiB, to see what a larger consumer costs.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16_384))]
    pub(crate) ballast_mib: u16,
    /// A file that gets each count as a line, as the logs and databases of a real service would.
    #[arg(long)]
    pub(crate) ledger: Option<PathBuf>,
    /// The address of a `tally` in another container of the pod, which numbers each message, over one connection that is never made again.
    #[arg(long, conflicts_with = "snapshots")]
    pub(crate) beside: Option<String>,
    /// A directory for snapshots, instead of a checkpoint from outside.
    #[arg(long, env = "MS2M_SNAPSHOTS")]
    pub(crate) snapshots: Option<PathBuf>,
    /// Start as a copy from this snapshot.
    #[arg(long)]
    pub(crate) restore: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum QueueType {
    Classic,
    Quorum,
    Stream,
}

impl Options {
    pub(crate) fn queue(&self) -> QueueSpec {
        let kind = match self.queue_type {
            QueueType::Classic => QueueKind::Classic,
            QueueType::Quorum => QueueKind::Quorum,
            QueueType::Stream => QueueKind::Stream,
        };
        let queue = QueueSpec::new(&self.queue, kind);
        if self.single_active_consumer { queue.with_single_active_consumer() } else { queue }
    }
}
