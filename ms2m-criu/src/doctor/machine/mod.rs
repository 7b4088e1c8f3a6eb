//! One machine: what it can checkpoint and restore.

mod against;
mod cgroups;
mod config;
mod cpu;
mod criu;
mod kernel;
mod kill;
mod lock;
mod privileges;
mod room;
mod runtimes;
mod security;
mod soft_dirty;
mod version;

use std::path::PathBuf;

use super::host::Host;
use super::tool;
use crate::check::Check;
use crate::runtime::Flavor;

/// What to look at.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The runtime that matters. What stands in its way fails; without one it is a warning.
    pub runtime: Option<Flavor>,
    /// The CRIU program, as a path or a name in `PATH`.
    pub criu: PathBuf,
    /// Where checkpoints will be written.
    pub work_dir: PathBuf,
    /// A checkpoint whose demands on the CPU are held against this machine's.
    pub against: Option<PathBuf>,
}

/// Looks at this machine. Always answers: what cannot be found out is a line that says so.
pub async fn machine(options: &MachineOptions) -> Vec<Check> {
    let host = Host::here();
    let runtime = options.runtime;
    let criu = criu::ask(&options.criu).await;

    let mut checks = privileges::checks(&host);
    checks.push(kernel::check(host.read("/proc/sys/kernel/osrelease"), criu.version()));
    checks.push(soft_dirty::check(soft_dirty::probe(), criu.tracks_memory));
    checks.push(kill::check(kill::probe().await));
    checks.extend(criu.checks());
    checks.extend(runtimes::checks(runtime).await);
    checks.push(cgroups::check(&host, runtime));
    checks.extend(cpu::checks(&host));
    if let Some(checkpoint) = &options.against {
        checks.extend(against::checks(checkpoint.clone()).await);
    }
    checks.push(room::check(&options.work_dir));
    checks.extend(config::checks(&host, &options.criu, runtime).await);
    checks.push(lock::check(super::config::effective(&host, &[], runtime), criu.has_feature("network_lock_nftables"), lock::tools(&host)));
    checks.extend(security::checks(&host));
    checks
}
