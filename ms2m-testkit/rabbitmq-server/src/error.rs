//! Why there is no server.

use std::io;
use std::path::PathBuf;

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// RabbitMQ is not on this machine.
    #[error(
        "rabbitmq-server is not installed. Debian and Ubuntu: apt-get install rabbitmq-server (it need not run as a service). \
         Elsewhere: put its sbin directory on PATH, or set RABBITMQ_SERVER to its start script"
    )]
    NotInstalled,
    /// It ended or did not answer. The tail of its log tells why.
    #[error("rabbitmq-server {what}; the end of its log:\n{log}")]
    DoesNotAnswer {
        /// What was seen.
        what: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// A file or process could not be made.
    #[error("cannot {doing} {path:?}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    /// For `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
