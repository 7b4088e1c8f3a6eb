//! Whether CRIU can lock the network of a frozen process.

use std::io;

use crate::check::Check;
use crate::doctor::config::Config;
use crate::doctor::host::Host;

/// Which of the programs that CRIU starts for `network-lock iptables` are there.
pub(super) fn tools(host: &Host) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    // CRIU looks there even when the PATH of its caller does not.
    let dirs = path.split(':').chain(["/usr/sbin", "/sbin"]).collect::<Vec<_>>();
    ["iptables-restore", "ip6tables-restore"].iter().all(|tool| dirs.iter().any(|dir| host.path(format!("{dir}/{tool}")).is_file()))
}

pub(super) fn check(config: io::Result<Config>, nftables: bool, iptables: bool) -> Check {
    const NAME: &str = "network-lock";
    let config = match config {
        Ok(config) => config,
        Err(error) => return Check::unknown(NAME, format!("/etc/criu: {error}")),
    };
    let there =
        format!("iptables {}, nftables {}", if iptables { "there" } else { "not there" }, if nftables { "there" } else { "not there" });
    match config.value("network-lock") {
        Some("skip") => Check::ok(NAME, format!("skipped by /etc/criu; {there}")),
        Some("nftables") if !nftables => {
            Check::fail(NAME, format!("/etc/criu asks for nftables, which this CRIU or kernel cannot; {there}")).remedy("set `network-lock skip`, or install iptables")
        }
        Some("nftables") => Check::ok(NAME, format!("nftables, as /etc/criu asks; {there}")),
        _ if iptables => Check::ok(NAME, format!("iptables, CRIU's default; {there}")),
        _ => Check::warn(NAME, format!("iptables is CRIU's default; {there}: a process with established connections in a network namespace of its own cannot be locked"))
            .remedy("set `network-lock skip` or `network-lock nftables` in /etc/criu, or install iptables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult::{self, Fail, Ok as Good, Unknown, Warn};
    use crate::doctor::host::fake::Fake;

    fn result(config: &str, nftables: bool, iptables: bool) -> CheckResult {
        check(Ok(Config::parse(config)), nftables, iptables).result
    }

    #[test]
    fn the_lock_that_is_configured_must_be_there() {
        assert_eq!(result("network-lock skip", false, false), Good);
        assert_eq!(result("network-lock nftables", false, true), Fail);
        assert_eq!(result("network-lock nftables", true, false), Good);
        assert_eq!(result("", true, false), Warn);
        assert_eq!(result("", false, true), Good);
        assert_eq!(check(Err(io::ErrorKind::PermissionDenied.into()), true, true).result, Unknown);
    }

    #[test]
    fn both_programs_are_needed() {
        let fake = Fake::new();
        assert!(!tools(&fake.file("/usr/sbin/iptables-restore", "").host));
        assert!(tools(&fake.file("/usr/sbin/ip6tables-restore", "").host));
    }
}
