//! A private Linux machine for a test that meets the real CRIU, runc and crun.
//!
//! It is a set of namespaces, not a virtual machine: a Debian sid of its own over a read-only root, with its own processes, mounts,
//! `/run`, `/tmp`, `/dev`, cgroups and host name. The network is the host's, so a RabbitMQ on 127.0.0.1 is reachable. It starts in
//! a quarter of a second and ends with the test, however that ends. Machines do not meet.
//!
//! # How to write such a test
//!
//! In `tests/criu_*.rs` of a package that declares `criu-tests = []` as a feature and requires it for this test (see
//! CONTRIBUTING.md), wrap the body. Outside, [`inside`] starts a machine and runs the same test again in it; there it runs the body:
//!
//! ```no_run
//! use std::process::Command;
//!
//! use ms2m_testkit_machine::{Bundle, Options, inside};
//!
//! #[test]
//! # fn hidden() {}
//! fn a_container_survives_its_checkpoint() {
//!     inside(&Options::default(), |machine| {
//!         let bundle = Bundle::new("/tmp/bundle", ["sleep", "1000"]).expect("a bundle");
//!         let run = Command::new("runc").args(["run", "-d", "--bundle"]).arg(bundle.path()).arg("one").status();
//!         assert!(run.expect("runc").success());
//!         // … the driver under test, called as the library that it is …
//!         assert!(Command::new("runc").args(["delete", "--force", "one"]).status().expect("runc").success());
//!     });
//! }
//! ```
//!
//! The body fails as any test does, by a panic. Afterwards [`inside`] itself fails the test when processes, mounts, cgroups or files
//! were left over, unless [`Options::may_leave`]. `cargo xtask test criu` provides what is needed and runs all of them.
//!
//! # What bites in here
//!
//! - Standard input and output of a container must be `/dev/null` or pipes: a file or terminal from outside the container cannot be
//!   dumped. [`Bundle::log`] is for output.
//! - crun refuses the hybrid cgroups of [`Cgroups::Host`]; both runtimes work with [`Cgroups::V2`], which is the default.
//! - With cgroup v2, CRIU looks every 100 ms whether the container is frozen, and often once too early: that checkpoint is frozen 0.1 s
//!   longer. `manage-cgroups=ignore` does not change that.
//! - Mounts inside a container's root must not come from outside it (bind mounts of host files), or CRIU must be told.
//! - CRIU prints one harmless `RLIMIT_NOFILE` error where the capability `CAP_SYS_RESOURCE` is missing.
//! - The workspace and its target directory are there under their own paths, read-only. `/tmp` and `/run` are tmpfs, `/var/tmp` is disk.
#![deny(missing_docs)]

mod bundle;
mod error;
mod inside;
mod leftovers;
mod machine;
mod options;
mod paths;
pub mod vm;

pub use bundle::Bundle;
pub use error::MachineError;
pub use inside::{Here, inside, inside_async, is_inside};
pub use leftovers::{Leftovers, Snapshot};
pub use machine::Machine;
pub use options::{Cgroups, Options};
pub use paths::{base_root, cache, visible, workspace_program};
