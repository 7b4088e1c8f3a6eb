//! Security modules that have a say in what CRIU may do.

use crate::check::Check;
use crate::doctor::host::Host;

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let on = |file: &str| host.read(file).ok().is_some_and(|text| matches!(text.trim(), "1" | "Y"));
    let apparmor = on("/sys/module/apparmor/parameters/enabled");
    let selinux = on("/sys/fs/selinux/enforce");
    let check = match (apparmor, selinux) {
        (false, false) => Check::ok("lsm", "neither AppArmor nor SELinux is enforced"),
        (true, _) => {
            Check::warn("lsm", "AppArmor is on: a container's profile must be loaded where the copy comes up, and must let CRIU ptrace it")
                .remedy("load the same profiles on both machines; if CRIU is denied, `dmesg` shows apparmor=\"DENIED\"")
        }
        (false, true) => Check::warn(
            "lsm",
            "SELinux enforces: the copy gets the label that the checkpoint names, and CRIU needs a domain that may set it",
        )
        .remedy("run with the container_runtime_t domain, the same policy on both machines; `ausearch -m avc` shows what was denied"),
    };
    vec![check]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;
    use crate::doctor::host::fake::Fake;

    #[test]
    fn what_is_enforced_is_told() {
        let fake = Fake::new();
        assert_eq!(checks(&fake.host)[0].result, CheckResult::Ok);
        fake.file("/sys/fs/selinux/enforce", "1");
        assert!(checks(&fake.host)[0].reason.starts_with("SELinux"));
        fake.file("/sys/module/apparmor/parameters/enabled", "Y\n");
        assert!(checks(&fake.host)[0].reason.starts_with("AppArmor"));
    }
}
