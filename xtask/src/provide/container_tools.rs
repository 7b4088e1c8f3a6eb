//! The tools of containers that images of checkpoints are exchanged with.

use std::path::Path;

use anyhow::Result;

use super::debian;
use crate::steps::Outcome;

/// Programs and the packages that bring them.
const TOOLS: [(&str, &str); 5] =
    [("skopeo", "skopeo"), ("umoci", "umoci"), ("buildah", "buildah"), ("containerd", "containerd"), ("ctr", "containerd")];

/// Makes sure that skopeo, umoci, buildah and containerd are installed.
pub(crate) fn container_tools() -> Result<Outcome> {
    for (program, package) in TOOLS {
        let how = format!("get it with `apt-get install {package}` as root on Debian, or from your system's packages");
        if installed(program) {
            continue;
        }
        if !debian::may_install() {
            return Ok(Outcome::LeftOut(format!("{program} is missing; {how}")));
        }
        debian::install(package)?;
        if !installed(program) {
            return Ok(Outcome::LeftOut(format!("{program} is missing and its installation failed, see above; {how}")));
        }
    }
    Ok(Outcome::Passed)
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::is_file(&folder.join(program)))
}
