//! [`LocalTarget`]: copies as containers of runc or crun on this machine, without Kubernetes.
//!
//! ```text
//! WORK/containers/COPY[-NAME]/      the copy's bundle; it stays with the copy
//!     config.json criu.conf identity
//!     rootfs/ upper/ overlay/       its root file system
//!     mounts/                       tmpfs mounts that CRIU takes over; gone once the copy runs
//!     restore/                      CRIU's log
//!     stdout.log stderr.log
//! WORK/migrations/MIGRATION/copy/   what has arrived, and who is being made; gone with the migration
//! ```

mod bundle;
mod cgroup;
mod check;
mod hostname;
mod mount;
mod record;
mod restore;
mod surroundings;
mod target;
mod template;

pub(crate) use self::mount::detach_below;
pub use self::target::LocalTarget;
pub(crate) use self::target::remove_bundle;
pub use self::template::{BaseRootfs, IDENTITY_FILE, Template};
