//! Tests on a Kubernetes of two nodes: `tests/cluster_*.rs` of a package, with `required-features = ["cluster-tests"]`.

use anyhow::Result;

use super::declared::Declared;
use crate::cargo::cargo;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

const TESTS: Declared = Declared { feature: "cluster-tests", prefixes: &["cluster_"] };

/// Whose programs the tests of other packages start: cargo builds only those of the test's own package.
const PROGRAMS: [&str; 3] = ["ms2m", "ms2m-agent", "ms2m-testkit-cluster"];

pub(super) fn run() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let packages = TESTS.packages(workspace.metadata())?;
    for provide in [provide::root_user, provide::rabbitmq, provide::registry, provide::sid_root, provide::kubernetes] {
        match provide()? {
            Outcome::Passed => {}
            missing => return Ok(missing),
        }
    }
    match execute(cargo().args(["build", "--bins"]).args(PROGRAMS.iter().flat_map(|package| ["--package", package])))? {
        // One at a time: a cluster is enough for two cores.
        Outcome::Passed => execute(TESTS.command(&packages).args(["--", "--test-threads=1"])),
        failed => Ok(failed),
    }
}
