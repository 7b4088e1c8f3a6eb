//! Packages of Debian and its relatives.

use std::process::Command;

use crate::steps::{Outcome, execute};

/// Whether packages may be installed here: a Debian, and we are root.
pub(super) fn may_install() -> bool {
    rustix::process::geteuid().is_root() && std::fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian(&text))
}

/// Installs one package.
pub(super) fn install(package: &str) -> anyhow::Result<Outcome> {
    let apt_get = |args: &[&str]| execute(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args));
    match apt_get(&["update", "-qq"])? {
        Outcome::Passed => apt_get(&["install", "-y", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", package]),
        failed => Ok(failed),
    }
}

fn is_debian(os_release: &str) -> bool {
    let fields = os_release.lines().filter_map(|line| line.split_once('='));
    fields.filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE")).any(|(_, value)| value.trim_matches('"').split(' ').any(|id| id == "debian"))
}

#[cfg(test)]
mod tests {
    use super::is_debian;

    #[test]
    fn debian_and_its_relatives_are_recognised() {
        assert!(is_debian("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(is_debian("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nNAME=debian\n"));
        assert!(!is_debian("ID=debianish\n"));
    }
}
