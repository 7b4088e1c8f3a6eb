//! Options; each can come from the environment, as in a pod.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use ms2m_identity::{CertificateDirectory, IssuerOptions};

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

    /// Sign the certificates of agents, whose account is in this namespace, and write one for this controller into the directory of --credentials. The
    /// authority is made with the first use, in the Secret ms2m-authority there
    #[arg(long, env = "MS2M_ISSUE_CERTIFICATES", value_name = "NAMESPACE")]
    issue_certificates: Option<String>,

    /// The ServiceAccount of agents
    #[arg(long, env = "MS2M_AGENT_ACCOUNT", value_name = "NAME", default_value = "ms2m-agent", requires = "issue_certificates")]
    agent_account: String,

    /// Seconds for which a certificate is good; it is renewed when two thirds of them are over
    #[arg(long, env = "MS2M_CERTIFICATE_LIFETIME_S", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(20..=86_400), requires = "issue_certificates")]
    certificate_lifetime_s: u64,

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

    /// The OpenTelemetry collector for traces, by OTLP over HTTP: http://HOST:4318 [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) traces: Option<String>,

    /// The address for health and metrics
    #[arg(long, env = "MS2M_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) listen: IpAddr,

    /// The port for /healthz and /metrics, in plain HTTP; 0 takes a free one, which the log names
    #[arg(long, env = "MS2M_OPERATIONS_PORT", default_value_t = 9445)]
    pub(crate) operations_port: u16,
}

impl Args {
    /// What certificates are issued with, if they are.
    pub(crate) fn issuer(&self) -> Option<IssuerOptions> {
        Some(IssuerOptions {
            namespace: self.issue_certificates.clone()?,
            account: self.agent_account.clone(),
            lifetime: Duration::from_secs(self.certificate_lifetime_s),
            directory: CertificateDirectory::new(&self.credentials),
        })
    }
}
