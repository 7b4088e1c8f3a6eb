//! Says what this machine can checkpoint and restore, and what stands in the way of checkpointing one container or process.
//!
//! [`machine`] looks at the machine: privileges, kernel, CRIU, runtimes, cgroups, CPU, disk room and CRIU's configuration. What can be probed
//! is probed: a kernel's configuration file says what was asked for, not what works.
//!
//! [`source`] looks at a running container or process, through `/proc`, for what CRIU refuses or what will be different in the copy. What
//! CRIU refuses depends on what it is told, so on who takes the checkpoint: [`Taker`].
//!
//! Both answer with [`Check`](crate::check::Check)s and change nothing: the connection that one probe kills is the probe's own.

mod config;
mod host;
mod machine;
mod size;
mod source;
mod tool;

pub use config::Taker;
pub use machine::{MachineOptions, machine};
pub use source::{SourceError, SourceOptions, source};

use crate::runtime::Flavor;

const FLAVORS: [Flavor; 2] = [Flavor::Runc, Flavor::Crun];

/// The program's name.
fn name(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Runc => "runc",
        Flavor::Crun => "crun",
    }
}
