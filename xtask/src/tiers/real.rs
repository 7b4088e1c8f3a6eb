//! The tiers that run on the real thing: what their tests need, and how they are run.

use anyhow::Result;

use super::declared::{Declared, of_no_tier, tests_of_workspace};
use crate::cargo::cargo;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

/// Against a real RabbitMQ and a real registry.
pub(super) const SERVICES: Real = Real {
    tests: Declared { feature: "service-tests", prefixes: &["rabbitmq_", "registry_"] },
    needs: &[provide::rabbitmq, provide::registry],
    programs: &[],
    one_at_a_time: false,
};

/// With the tools of containers.
pub(super) const TOOLS: Real = Real {
    tests: Declared { feature: "tool-tests", prefixes: &["tools_"] },
    needs: &[provide::root_user, provide::container_tools],
    programs: &[],
    one_at_a_time: false,
};

/// With the real CRIU, runc and crun. They measure how long a process stands still.
pub(super) const CRIU: Real = Real {
    tests: Declared { feature: "criu-tests", prefixes: &["criu_"] },
    needs: &[provide::root_user, provide::rabbitmq, provide::registry, provide::sid_root, provide::virtual_machine],
    programs: &["ms2m", "ms2m-agent", "counter"],
    one_at_a_time: true,
};

/// On a Kubernetes of two nodes. One cluster is enough for two cores.
pub(super) const CLUSTER: Real = Real {
    tests: Declared { feature: "cluster-tests", prefixes: &["cluster_"] },
    needs: &[
        provide::root_user,
        provide::rabbitmq,
        provide::registry,
        provide::sid_root,
        provide::kubernetes,
        provide::helm,
        provide::static_debug_programs,
    ],
    programs: &provide::OF_CLUSTER_TESTS,
    one_at_a_time: true,
};

/// With the features of all tiers, so that no tier builds again what another has built.
fn features_of_all(workspace: &Workspace) -> Result<Vec<String>> {
    let mut features = Vec::new();
    for tier in [SERVICES, TOOLS, CRIU, CLUSTER] {
        features.extend(tier.tests.features(workspace.metadata())?);
    }
    Ok(features)
}

/// What needs nothing but cargo: all tests that belong to none of these tiers.
pub(super) fn unit() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let features = features_of_all(&workspace)?;
    let tiers = [SERVICES, TOOLS, CRIU, CLUSTER].map(|tier| tier.tests);
    let mut tests = tests_of_workspace(&features);
    tests.args(["--lib", "--bins", "--examples"]);
    for name in of_no_tier(&tiers, workspace.metadata()) {
        tests.args(["--test", &name]);
    }
    // One failure hides no other.
    let (tests, doctests) = (execute(&mut tests)?, execute(tests_of_workspace(&features).arg("--doc"))?);
    Ok(if tests == Outcome::Passed { doctests } else { tests })
}

/// One such tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    tests: Declared,
    /// Installed or built where that can be done, in this order.
    needs: &'static [fn() -> Result<Outcome>],
    /// Whose programs the tests of other packages start: cargo builds only those of the test's own package.
    programs: &'static [&'static str],
    one_at_a_time: bool,
}

impl Real {
    pub(super) fn run(self) -> Result<Outcome> {
        let workspace = Workspace::load(&crate::cargo::workspace_root())?;
        let features = features_of_all(&workspace)?;
        for provide in self.needs {
            match provide()? {
                Outcome::Passed => {}
                missing => return Ok(missing),
            }
        }
        if !self.programs.is_empty() {
            match execute(cargo().args(["build", "--bins"]).args(self.programs.iter().flat_map(|package| ["--package", package])))? {
                Outcome::Passed => {}
                failed => return Ok(failed),
            }
        }
        let mut tests = self.tests.command(&features);
        if self.one_at_a_time {
            tests.args(["--", "--test-threads=1"]);
        }
        execute(&mut tests)
    }
}
