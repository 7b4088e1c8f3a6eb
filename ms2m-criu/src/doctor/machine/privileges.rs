//! Who we are, and what we may.

use procfs::FromRead as _;
use procfs::process::Status;

use crate::check::Check;
use crate::doctor::host::Host;

/// A capability: its bit, its name, and what does not work without it. Without a required one nothing works.
struct Capability {
    bit: u32,
    name: &'static str,
    required: bool,
    without: &'static str,
}

const CAPABILITIES: [Capability; 5] = [
    Capability { bit: 21, name: "CAP_SYS_ADMIN", required: true, without: "namespaces, mounts and cgroups cannot be read or made" },
    Capability { bit: 19, name: "CAP_SYS_PTRACE", required: true, without: "other processes cannot be seized" },
    Capability { bit: 12, name: "CAP_NET_ADMIN", required: true, without: "sockets cannot be read, locked or killed" },
    Capability {
        bit: 40,
        name: "CAP_CHECKPOINT_RESTORE",
        required: false,
        without: "process ids cannot be chosen, except with CAP_SYS_ADMIN",
    },
    Capability {
        bit: 24,
        name: "CAP_SYS_RESOURCE",
        required: false,
        without: "CRIU prints one RLIMIT_NOFILE error per call, and limits above the hard ones cannot be restored",
    },
];

pub(super) fn checks(host: &Host) -> Vec<Check> {
    match Status::from_file(host.path("/proc/self/status")) {
        Ok(status) => vec![root(&status), capabilities(status.capeff), seccomp(status.seccomp)],
        Err(error) => {
            vec![Check::unknown("root", format!("/proc/self/status: {error}")).remedy("mount /proc, and run doctor where ms2m will run")]
        }
    }
}

fn root(status: &Status) -> Check {
    match status.euid {
        0 => Check::ok("root", "runs as root"),
        user => Check::fail("root", format!("runs as user {user}; what follows may be wrong for that reason"))
            .remedy("run it as root, for example with sudo"),
    }
}

fn capabilities(effective: u64) -> Check {
    let missing: Vec<_> = CAPABILITIES.iter().filter(|capability| effective & (1 << capability.bit) == 0).collect();
    if missing.is_empty() {
        return Check::ok("capabilities", CAPABILITIES.map(|capability| capability.name).join(", "));
    }
    let reason = missing.iter().map(|one| format!("no {}: {}", one.name, one.without)).collect::<Vec<_>>().join("; ");
    let names = missing.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
    if missing.iter().any(|one| one.required) {
        Check::fail("capabilities", reason).remedy(format!("give this process {names}: as root on the host, or in a privileged container"))
    } else {
        Check::warn("capabilities", reason).remedy(format!("give this process {names} where that matters"))
    }
}

fn seccomp(mode: Option<u32>) -> Check {
    match mode {
        Some(0) => Check::ok("seccomp", "this process is not filtered"),
        Some(_) => Check::warn("seccomp", "a seccomp filter is on this process, and CRIU inherits it: system calls may be refused")
            .remedy("run with seccomp unconfined"),
        None => Check::unknown("seccomp", "the kernel does not say whether this process is filtered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;
    use crate::doctor::host::fake::Fake;

    const FULL: u64 = 0x1ff_ffff_ffff;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(capabilities(FULL).result, CheckResult::Ok);
        let warned = capabilities(FULL & !(1 << 24));
        assert_eq!(warned.result, CheckResult::Warn);
        assert!(warned.reason.contains("CAP_SYS_RESOURCE"), "{warned}");
        let failed = capabilities(FULL & !(1 << 19) & !(1 << 24));
        assert_eq!(failed.result, CheckResult::Fail);
        assert!(failed.remedy.as_ref().unwrap().contains("CAP_SYS_PTRACE"), "{failed}");
    }

    #[test]
    fn filters_are_told() {
        assert_eq!([Some(0), Some(2), None].map(|mode| seccomp(mode).result), [CheckResult::Ok, CheckResult::Warn, CheckResult::Unknown]);
    }

    #[test]
    fn the_own_status_is_read() {
        let fake = Fake::new();
        assert_eq!(checks(&fake.host)[0].result, CheckResult::Unknown);
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let uid = own.lines().find(|line| line.starts_with("Uid:")).unwrap().to_owned();
        fake.file("/proc/self/status", &own.replace(&uid, "Uid:\t1000\t1000\t1000\t1000"));
        assert_eq!(checks(&fake.host)[0].result, CheckResult::Fail);
        fake.file("/proc/self/status", &own.replace(&uid, "Uid:\t0\t0\t0\t0"));
        assert_eq!(checks(&fake.host)[0].result, CheckResult::Ok);
    }
}
