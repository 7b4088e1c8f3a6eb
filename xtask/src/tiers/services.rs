//! Tests against a real RabbitMQ: `tests/rabbitmq_*.rs` of a package, with `required-features = ["service-tests"]`.

use anyhow::Result;

use super::declared::Declared;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

const TESTS: Declared = Declared { feature: "service-tests", prefix: "rabbitmq_" };

pub(super) fn run() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let packages = TESTS.packages(workspace.metadata())?;
    match provide::rabbitmq()? {
        Outcome::Passed => execute(&mut TESTS.command(&packages)),
        missing => Ok(missing),
    }
}
