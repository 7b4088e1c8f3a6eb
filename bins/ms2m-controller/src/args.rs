//! Options; each can come from the environment, as in a pod.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Parser;

/// Moves the pods of a cluster that StatefulMigrations ask for, by the agents of its nodes.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Args {
    /// Migrations of this namespace only [default: of all]
    #[arg(long, env = "MS2M_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// A directory with tls.crt and tls.key, which name this controller to the agents, and ca.crt, which says whom it believes
    #[arg(long, env = "MS2M_CREDENTIALS", value_name = "DIR", default_value = "/etc/ms2m/tls")]
    pub(crate) credentials: PathBuf,

    /// The port at which agents listen
    #[arg(long, env = "MS2M_AGENT_PORT", default_value_t = 9443)]
    pub(crate) agent_port: u16,

    /// The RuntimeClass of the nodes' ms2m-runtime, for the pods of copies [default: their own, where it is the nodes' usual runtime]
    #[arg(long, env = "MS2M_RUNTIME_CLASS", value_name = "NAME")]
    pub(crate) runtime_class: Option<String>,

    /// Keep a lease in this namespace, so that of several controllers one works at a time
    #[arg(long, env = "MS2M_LEASE_NAMESPACE", value_name = "NAME")]
    pub(crate) lease_namespace: Option<String>,

    /// The name of this controller in its lease and in events [default: a random one]
    #[arg(long, env = "MS2M_IDENTITY", value_name = "NAME")]
    pub(crate) identity: Option<String>,

    /// Migrations at a time; others wait
    #[arg(long, env = "MS2M_MIGRATIONS_MAX", default_value_t = 64)]
    pub(crate) migrations_max: usize,

    /// The address for health and metrics
    #[arg(long, env = "MS2M_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) listen: IpAddr,

    /// The port for /healthz and /metrics, in plain HTTP; 0 takes a free one, which the log names
    #[arg(long, env = "MS2M_OPERATIONS_PORT", default_value_t = 9445)]
    pub(crate) operations_port: u16,
}
