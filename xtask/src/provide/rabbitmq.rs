//! The broker's program. The tests start brokers of their own; nobody needs a running one.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::debian;
use crate::steps::Outcome;

const PACKAGE: &str = "rabbitmq-server";
const HOW: &str = "get it with `apt-get install rabbitmq-server` as root on Debian, or from your system's packages";

/// Makes sure that `rabbitmq-server` is installed.
pub(crate) fn rabbitmq() -> Result<Outcome> {
    if installed() {
        return Ok(Outcome::Passed);
    }
    if !debian::may_install() {
        return Ok(Outcome::LeftOut(format!("{PACKAGE} is missing; {HOW}")));
    }
    let outcome = debian::install(PACKAGE)?;
    // The package ends by starting a broker of the system, which a container may refuse. The program is there all the same.
    Ok(match outcome {
        _ if installed() => Outcome::Passed,
        Outcome::Failed(why) => Outcome::LeftOut(format!("{PACKAGE} is missing and its installation failed ({why}); {HOW}")),
        _ => Outcome::LeftOut(format!("the package {PACKAGE} brought no such program; {HOW}")),
    })
}

fn installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/lib/rabbitmq/bin"].map(PathBuf::from));
    any_has(folders, PACKAGE)
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
        std::fs::write(full.path().join(PACKAGE), "").unwrap();
        let folders = |of: &[&tempfile::TempDir]| of.iter().map(|dir| dir.path().to_owned()).collect::<Vec<_>>();
        assert!(any_has(folders(&[&empty, &full]).into_iter(), PACKAGE));
        assert!(!any_has(folders(&[&empty]).into_iter(), PACKAGE));
    }
}
