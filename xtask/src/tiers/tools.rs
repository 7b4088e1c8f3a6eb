//! Tests with the tools of containers: `tests/tools_*.rs` of a package, with `required-features = ["tool-tests"]`.

use anyhow::Result;

use super::declared::Declared;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

const TESTS: Declared = Declared { feature: "tool-tests", prefixes: &["tools_"] };

pub(super) fn run() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let packages = TESTS.packages(workspace.metadata())?;
    for provide in [provide::root_user, provide::container_tools] {
        match provide()? {
            Outcome::Passed => {}
            missing => return Ok(missing),
        }
    }
    execute(&mut TESTS.command(&packages))
}
