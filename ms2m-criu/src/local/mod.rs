//! [`LocalTarget`]: copies as containers of runc or crun on this machine, without Kubernetes.
//!
//! ```text
//! WORK/containers/COPY[-NAME]/      the copy's bundle; it stays with the copy
//!     config.json criu.conf identity
//!     network                       in the first one's: the network namespace that they share, if it is their own
//!     rootfs/ upper/ overlay/       its root file system
//!     mounts/                       tmpfs mounts that CRIU takes over; gone once the copy runs
//!     restore/                      CRIU's log
//!     stdout.log stderr.log
//! WORK/migrations/MIGRATION/copy/   what has arrived, and who is being made; gone with the migration
//! ```

pub(crate) mod arrival;
pub(crate) mod bundle;
pub(crate) mod cgroup;
pub(crate) mod check;
pub(crate) mod connections;
mod hostname;
pub(crate) mod launch;
mod mount;
mod namespace;
mod network;
pub(crate) mod push;
pub(crate) mod record;
pub(crate) mod restore;
pub(crate) mod surroundings;
mod target;
mod template;

pub(crate) use self::mount::detach_below;
pub(crate) use self::network::Namespace;
pub use self::network::Network;
pub use self::target::LocalTarget;
pub(crate) use self::target::{blocking, remove_bundle};
pub use self::template::{BaseRootfs, IDENTITY_FILE, Template};
