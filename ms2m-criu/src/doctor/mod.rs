//! Says what this machine can checkpoint and restore, and what stands in the way of checkpointing one container or process.
//!
//! [`machine`] looks at the machine: privileges, kernel, CRIU, runtimes, cgroups, CPU, disk room and CRIU's configuration. What can be probed
//! is probed: a kernel's configuration file says what was asked for, not what works.
//!
//! [`source`] looks at a running container or process, through `/proc`, for what CRIU refuses or what will be different in the copy.
//!
//! Both answer with [`Check`](crate::check::Check)s and change nothing: the connection that one probe kills is the probe's own.

mod config;
mod host;
mod machine;
mod size;
mod source;
mod tool;

pub use machine::{MachineOptions, machine};
pub use source::{SourceError, SourceOptions, source};

use std::fmt;

/// The container runtime in question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Runtime {
    /// runc, which starts the `criu` program.
    Runc,
    /// crun, which loads `libcriu`.
    Crun,
}

impl Runtime {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Runc, Self::Crun];

    /// The program's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
