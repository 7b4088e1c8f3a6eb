//! How cgroups are mounted.

use procfs::FromRead as _;
use procfs::process::MountInfos;

use crate::check::Check;
use crate::doctor::host::Host;
use crate::runtime::Flavor;

pub(super) fn check(host: &Host, runtime: Option<Flavor>) -> Check {
    const NAME: &str = "cgroups";
    let mounts = match MountInfos::from_file(host.path("/proc/self/mountinfo")) {
        Ok(mounts) => mounts,
        Err(error) => return Check::unknown(NAME, format!("/proc/self/mountinfo: {error}")),
    };
    let under =
        |fs_type: &str| mounts.iter().filter(|mount| mount.fs_type == fs_type && mount.mount_point.starts_with("/sys/fs/cgroup")).count();
    match (under("cgroup"), under("cgroup2")) {
        (0, 0) => Check::fail(NAME, "no cgroup file system below /sys/fs/cgroup: runtimes cannot start containers")
            .remedy("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        (0, _) => Check::ok(NAME, "version 2"),
        (_, 0) => Check::ok(NAME, "version 1"),
        (_, _) => {
            let reason = "hybrid: version 1 with version 2 beside it, which crun refuses";
            let remedy =
                "boot with systemd.unified_cgroup_hierarchy=1, or unmount the version 2 hierarchy (usually /sys/fs/cgroup/unified)";
            match runtime {
                Some(Flavor::Runc) => Check::ok(NAME, reason),
                Some(Flavor::Crun) => Check::fail(NAME, reason).remedy(remedy),
                None => Check::warn(NAME, reason).remedy(remedy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;
    use crate::doctor::host::fake::Fake;

    const V2: &str = "30 20 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
    const V1: &str = "32 30 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
    const BESIDE: &str = "31 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    fn result(mounts: &str, runtime: Option<Flavor>) -> CheckResult {
        let fake = Fake::new();
        fake.file("/proc/self/mountinfo", mounts);
        check(&fake.host, runtime).result
    }

    #[test]
    fn crun_refuses_the_hybrid_layout() {
        assert_eq!(result(V2, Some(Flavor::Crun)), CheckResult::Ok);
        assert_eq!(result(V1, Some(Flavor::Crun)), CheckResult::Ok);
        let hybrid = [V1, BESIDE].concat();
        assert_eq!(result(&hybrid, Some(Flavor::Crun)), CheckResult::Fail);
        assert_eq!(result(&hybrid, Some(Flavor::Runc)), CheckResult::Ok);
        assert_eq!(result(&hybrid, None), CheckResult::Warn);
        assert_eq!(result("20 1 0:1 / /proc rw - proc proc rw\n", None), CheckResult::Fail);
        assert_eq!(check(&Fake::new().host, None).result, CheckResult::Unknown);
    }
}
