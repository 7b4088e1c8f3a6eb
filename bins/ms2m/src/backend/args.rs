//! What can be chosen about the way of a checkpoint.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;

/// Options of every command that sends checkpoints.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Transfer")]
pub(crate) struct BackendArgs {
    /// For agents: a directory with tls.crt and tls.key, which say who this side is, and ca.crt, which says whom it trusts
    #[arg(long, value_name = "DIR", default_value = "/etc/ms2m/tls")]
    pub(crate) credentials: PathBuf,
    /// For agents: the node whose certificate the agent must show [default: the host of its address]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// For registries: certificates (PEM) of authorities that are trusted besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_authority: Option<PathBuf>,
    /// For registries: HTTP without TLS
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Leave what a registry gets unencrypted, so that nodes can restore the image, and everybody who may pull it can read the memory
    #[arg(long)]
    pub(crate) unsealed: bool,
    /// Use at most so many bytes per second
    #[arg(long, value_name = "BYTES")]
    pub(crate) bytes_per_second: Option<NonZeroU64>,
}
