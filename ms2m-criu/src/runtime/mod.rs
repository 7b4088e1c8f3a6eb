//! Containers of runc and crun.
//!
//! [`RuntimeSource`] takes checkpoints of them. The dump is made by CRIU directly, because what the runtimes ask of it costs more
//! than half of the freeze (cgroups, network lock, archives of tmpfs mounts); the restore is the runtime's own, so that the copy is
//! one of its containers ([`LocalTarget`](crate::local::LocalTarget)).

mod command;
mod container;
pub(crate) mod descriptors;
mod dump;
mod freezer;
mod mounts;
mod process;
mod quiet;
mod source;
mod state;

use std::fmt;
use std::path::PathBuf;

pub(crate) use self::command::{hangs, last_words};
pub use self::container::Container;
pub(crate) use self::dump::relative;
pub(crate) use self::freezer::Freezer;
pub use self::mounts::{External, ExternalKind, Layers};
pub(crate) use self::mounts::{bound_from, is_empty_dir, is_of_the_pod};
pub use self::process::Process;
pub use self::source::RuntimeSource;
pub use self::state::{ContainerState, ContainerStatus};

/// Which runtime.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flavor {
    /// <https://github.com/opencontainers/runc>
    Runc,
    /// <https://github.com/containers/crun>
    Crun,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        })
    }
}

/// An OCI runtime on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runtime {
    flavor: Flavor,
    program: PathBuf,
    root: Option<PathBuf>,
}

impl Runtime {
    /// The runtime found by its name.
    #[must_use]
    pub fn new(flavor: Flavor) -> Self {
        Self { flavor, program: flavor.to_string().into(), root: None }
    }

    /// With another program.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// With another state directory (the runtime's option `--root`).
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Which runtime it is.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }
}
