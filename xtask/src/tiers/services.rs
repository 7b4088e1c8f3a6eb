//! Tests against a real RabbitMQ and a real registry: `tests/rabbitmq_*.rs` and `tests/registry_*.rs` of a package, with
//! `required-features = ["service-tests"]`.

use anyhow::Result;

use super::declared::Declared;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

const TESTS: Declared = Declared { feature: "service-tests", prefixes: &["rabbitmq_", "registry_"] };

pub(super) fn run() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let packages = TESTS.packages(workspace.metadata())?;
    for provide in [provide::rabbitmq, provide::registry] {
        match provide()? {
            Outcome::Passed => {}
            missing => return Ok(missing),
        }
    }
    execute(&mut TESTS.command(&packages))
}
