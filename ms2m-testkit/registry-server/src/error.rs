//! Why there is no server.

use std::io;
use std::path::PathBuf;

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It is not on this machine.
    #[error(
        "docker-registry is not installed. Debian and Ubuntu: apt-get install docker-registry (it need not run as a service). \
         Elsewhere: put it on PATH, or set DOCKER_REGISTRY to the program"
    )]
    NotInstalled,
    /// It ended or did not answer. The tail of its log tells why.
    #[error("docker-registry {what}; the end of its log:\n{log}")]
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
