//! Why a source cannot be looked at.

use thiserror::Error;

/// Why a source cannot be looked at.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// Neither a container nor a process.
    #[error(
        "there is no container or process `{0}`: `runc list` and `crun list` show containers; --runtime-root names a runtime's directory when it is not the default"
    )]
    NoSource(String),
    /// A container that does not run.
    #[error("container `{name}` is {status}, not running: start or resume it first")]
    NotRunning {
        /// Its name.
        name: String,
        /// What the runtime says of it.
        status: String,
    },
    /// A process that has ended, or that we may not look at.
    #[error("process {pid} cannot be looked at ({reason}): run as root, in the process's pid namespace or outside of it")]
    Process {
        /// Its id.
        pid: i32,
        /// What was tried and why it failed.
        reason: String,
    },
    /// The runtime does not answer as it should.
    #[error("the runtime cannot be asked for container `{name}`: {source}")]
    Runtime {
        /// The container's name.
        name: String,
        /// Why.
        source: ms2m_core::Error,
    },
}
