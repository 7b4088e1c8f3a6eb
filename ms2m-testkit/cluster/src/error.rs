//! Why there is no cluster, or something in it went wrong.

use std::path::PathBuf;
use std::process::Command;

use ms2m_testkit_machine::MachineError;

/// A cluster, or something in it, that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Its machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Kubernetes has not been built.
    #[error("there is no Kubernetes at {}; `cargo xtask test cluster` builds it", .0.display())]
    NotBuilt(PathBuf),
    /// Its registry.
    #[error("the cluster's registry: {0}")]
    Registry(#[from] ms2m_testkit_registry::StartError),
    /// Its RabbitMQ.
    #[error("the cluster's RabbitMQ: {0}")]
    RabbitMq(#[from] ms2m_testkit_rabbitmq::StartError),
    /// It did not come up.
    #[error("the cluster did not start: {why}\n{logs}")]
    DidNotStart {
        /// What is missing.
        why: String,
        /// The ends of its logs.
        logs: String,
    },
    /// A command ended with an error.
    #[error("`{command}` ended with {status}: {output}")]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        output: String,
    },
    /// A file, key or process could not be made.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ClusterError {
    /// For `map_err`.
    pub(crate) fn io<E: Into<std::io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { doing: doing.into(), source: error.into() }
    }
}

/// Runs it to its end; its output. `called` says what it is, as the command line begins with how the machine is entered.
pub(crate) fn run(command: &mut Command, called: &str) -> Result<Vec<u8>, ClusterError> {
    let output = command.output().map_err(ClusterError::io(format!("run {called}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(ClusterError::Command {
        command: called.to_owned(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
