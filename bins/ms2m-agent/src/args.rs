//! Options; each can come from the environment, as in a pod.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ms2m_core::Result;
use ms2m_transfer_direct::Credentials;
use ms2m_transfer_direct::agent::{Admission, AllowList, Limits, LiveFile, StoreOptions};

use crate::as_node;
use crate::image_store::ImageStoreArgs;
use crate::install::InstallArgs;
use crate::node::NodeArgs;

/// Takes the checkpoints that other nodes send, over mutually authenticated TLS 1.3, and keeps them until the copy is made of them.
#[derive(Parser, Debug)]
#[command(version, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Work as the node of this pod, with the node's own programs and files: for a privileged container of a pod with hostPID. Certificates are those of the
    /// pod all the same
    #[arg(long, env = "MS2M_AS_NODE")]
    pub(crate) as_node: bool,

    /// Where checkpoints are kept; used by this agent alone
    #[arg(long, env = "STORAGE_DIR", default_value = "/var/lib/ms2m/incoming")]
    pub(crate) storage_dir: PathBuf,

    /// The address to listen on
    #[arg(long, env = "MS2M_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) listen: IpAddr,

    /// The port for checkpoints; 0 takes a free one, which the log names
    #[arg(long, env = "PORT", default_value_t = 9443)]
    pub(crate) port: u16,

    /// The port for /healthz, /readyz and /metrics, in plain HTTP
    #[arg(long, env = "MS2M_OPERATIONS_PORT", default_value_t = 9444)]
    pub(crate) operations_port: u16,

    /// The OpenTelemetry collector for traces, by OTLP over HTTP: http://HOST:4318 [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) traces: Option<String>,

    /// This node's certificate (PEM), which names the node; read again when it changes, like the next two
    #[arg(long, env = "MS2M_CERTIFICATE", default_value = "/etc/ms2m/tls/tls.crt")]
    certificate: PathBuf,

    /// Its key (PEM)
    #[arg(long, env = "MS2M_KEY", default_value = "/etc/ms2m/tls/tls.key")]
    key: PathBuf,

    /// The authority that has signed the certificates of all nodes (PEM)
    #[arg(long, env = "MS2M_AUTHORITY", default_value = "/etc/ms2m/tls/ca.crt")]
    authority: PathBuf,

    /// The peers, by the names in their certificates, that may send, read and discard everything
    #[arg(long, env = "MS2M_ALLOW", value_delimiter = ',', value_name = "NAME", required_unless_present_any = ["live_file", "controllers"], conflicts_with = "controllers")]
    allow: Vec<String>,

    /// A JSON file that names the live migrations and who may send them; nothing else is admitted. With --controllers the agent keeps one itself
    #[arg(long, env = "MS2M_LIVE_FILE", conflicts_with_all = ["allow", "controllers"])]
    live_file: Option<PathBuf>,

    /// Largest checkpoint, in bytes
    #[arg(long, env = "MS2M_ARCHIVE_BYTES_MAX", default_value_t = 64 << 30)]
    archive_bytes_max: u64,

    /// Room on the disk that is left to others, in bytes
    #[arg(long, env = "MS2M_FREE_BYTES_MIN", default_value_t = 1 << 30)]
    free_bytes_min: u64,

    /// Connections at a time
    #[arg(long, env = "MS2M_CONNECTIONS_MAX", default_value_t = 2048)]
    connections_max: usize,

    /// Uploads and downloads at a time
    #[arg(long, env = "MS2M_TRANSFERS_MAX", default_value_t = 16)]
    transfers_max: usize,

    /// Seconds that a client may take for its handshake and for the head of a request
    #[arg(long, env = "MS2M_HEAD_WITHIN_S", default_value_t = 10)]
    head_within_s: u64,

    /// Seconds that a client may take for a piece of 512 KiB
    #[arg(long, env = "MS2M_PIECE_WITHIN_S", default_value_t = 60)]
    piece_within_s: u64,

    /// Seconds that uploads may go on after the agent was told to end
    #[arg(long, env = "MS2M_DRAIN_WITHIN_S", default_value_t = 20)]
    drain_within_s: u64,

    /// Seconds after which an upload that broke off is removed
    #[arg(long, env = "MS2M_INCOMPLETE_AGE_MAX_S", default_value_t = 3600)]
    incomplete_age_max_s: u64,

    /// Seconds after which a checkpoint that nobody discarded is removed
    #[arg(long, env = "MS2M_AGE_MAX_S", default_value_t = 24 * 3600)]
    age_max_s: u64,

    /// Seconds between looking for what is too old
    #[arg(long, env = "MS2M_COLLECT_EVERY_S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    collect_every_s: u64,

    #[command(flatten)]
    pub(crate) image_store: ImageStoreArgs,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// What there is to do beside being the agent.
#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    /// Put ms2m-runtime on this node, and say what its containerd must be told of it
    Install(InstallArgs),
}

impl Args {
    /// To be called before there is another thread.
    pub(crate) fn enter_the_node(&mut self) -> Result<()> {
        for file in [&mut self.certificate, &mut self.key, &mut self.authority] {
            *file = as_node::reachable(file)?;
        }
        as_node::enter()
    }

    pub(crate) fn store(&self) -> StoreOptions {
        StoreOptions {
            directory: self.storage_dir.clone(),
            archive_bytes_max: self.archive_bytes_max,
            free_bytes_min: self.free_bytes_min,
            incomplete_age_max: Duration::from_secs(self.incomplete_age_max_s),
            age_max: Duration::from_secs(self.age_max_s),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections_max: self.connections_max,
            transfers_max: self.transfers_max,
            head_within: Duration::from_secs(self.head_within_s),
            piece_within: Duration::from_secs(self.piece_within_s),
            drain_within: Duration::from_secs(self.drain_within_s),
        }
    }

    pub(crate) fn admission(&self) -> Arc<dyn Admission> {
        match &self.live_file {
            Some(path) => Arc::new(LiveFile::new(path)),
            None if !self.node.controllers.is_empty() => Arc::new(LiveFile::new(self.node.live_file())),
            None => Arc::new(AllowList::new(&self.allow)),
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::from_files(&self.certificate, &self.key, &self.authority)
    }

    pub(crate) fn collect_every(&self) -> Duration {
        Duration::from_secs(self.collect_every_s)
    }
}
