//! Why there is no machine.

use std::io;
use std::path::PathBuf;

/// A machine, or something in it, that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// Namespaces, mounts and CRIU need root.
    #[error("a machine needs root: run `cargo xtask test criu` as root")]
    NotRoot,
    /// The root directory with CRIU, runc and crun has not been built.
    #[error("there is no Debian root with CRIU at {}; `cargo xtask test criu` builds it", .0.display())]
    NoRoot(PathBuf),
    /// A program of the workspace has not been built.
    #[error("{} has not been built; `cargo xtask test criu` builds it, or: cargo build --package {package} --bin {name}", .path.display())]
    NoProgram {
        /// The package that it belongs to.
        package: String,
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// The machine did not come up. What its scripts said tells why.
    #[error("the machine did not start:\n{0}")]
    DidNotStart(String),
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

impl MachineError {
    /// For `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
