//! Programs of services. The tests start servers of their own; nobody needs a running one.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::debian;
use crate::steps::Outcome;

/// Beyond the PATH.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/lib/rabbitmq/bin"];

/// Makes sure that `rabbitmq-server` is installed.
pub(crate) fn rabbitmq() -> Result<Outcome> {
    program("rabbitmq-server")
}

/// Makes sure that `docker-registry` is installed, and `skopeo`, which reads what was pushed to it.
pub(crate) fn registry() -> Result<Outcome> {
    match program("docker-registry")? {
        Outcome::Passed => program("skopeo"),
        missing => Ok(missing),
    }
}

/// Makes sure of a program, from Debian's package of the same name.
pub(crate) fn program(name: &str) -> Result<Outcome> {
    if installed(name) {
        return Ok(Outcome::Passed);
    }
    let how = format!("get it with `apt-get install {name}` as root on Debian, or from your system's packages");
    if !debian::may_install() {
        return Ok(Outcome::LeftOut(format!("{name} is missing; {how}")));
    }
    let outcome = debian::install(name)?;
    // The package ends by starting a server of the system, which a container may refuse. The program is there all the same.
    Ok(match outcome {
        _ if installed(name) => Outcome::Passed,
        Outcome::Failed(why) => Outcome::LeftOut(format!("{name} is missing and its installation failed ({why}); {how}")),
        _ => Outcome::LeftOut(format!("the package {name} brought no such program; {how}")),
    })
}

fn installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    any_has(std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from)), name)
}

fn any_has(mut folders: impl Iterator<Item = PathBuf>, program: &str) -> bool {
    folders.any(|folder| Path::is_file(&folder.join(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_looked_for_in_every_folder() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(full.path().join("server"), "").unwrap();
        let folders = |of: &[&tempfile::TempDir]| of.iter().map(|dir| dir.path().to_owned()).collect::<Vec<_>>();
        assert!(any_has(folders(&[&empty, &full]).into_iter(), "server"));
        assert!(!any_has(folders(&[&empty]).into_iter(), "server"));
    }
}
