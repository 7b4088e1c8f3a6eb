//! Tests against a real RabbitMQ.
//!
//! They are the integration tests `tests/rabbitmq_*.rs` of a package, with `required-features = ["service-tests"]`;
//! a package with that feature is found here by itself.

use std::process::Command;

use anyhow::{Result, bail};
use cargo_metadata::{Metadata, TargetKind};

use crate::cargo::cargo;
use crate::provide;
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

const FEATURE: &str = "service-tests";
const PREFIX: &str = "rabbitmq_";

pub(super) fn run() -> Result<Outcome> {
    let workspace = Workspace::load(&crate::cargo::workspace_root())?;
    let packages = packages(workspace.metadata())?;
    match provide::rabbitmq()? {
        Outcome::Passed => execute(&mut command(&packages)),
        missing => Ok(missing),
    }
}

/// One call for all packages, so that their tests are built together.
fn command(packages: &[String]) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let features: Vec<_> = packages.iter().map(|package| format!("{package}/{FEATURE}")).collect();
    command.args(["--features", &features.join(","), "--test", &format!("{PREFIX}*")]);
    command
}

/// The packages with service tests. A half-declared one is an error: its tests would silently never run.
fn packages(metadata: &Metadata) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        let mut tests =
            package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Test) && target.name.starts_with(PREFIX)).peekable();
        let declared = package.features.contains_key(FEATURE);
        let has_tests = tests.peek().is_some();
        if has_tests != declared {
            bail!("{} has only one of: the feature {FEATURE}, a test {PREFIX}*", package.name);
        }
        if let Some(test) = tests.find(|test| !test.required_features.iter().any(|feature| feature == FEATURE)) {
            bail!("the test {} of {} lacks required-features = [\"{FEATURE}\"]", test.name, package.name);
        }
        if declared {
            found.push(package.name.to_string());
        }
    }
    if found.is_empty() {
        bail!("no package of the workspace has the feature {FEATURE}");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    const COMPLETE: &str = "[features]\nservice-tests = []\n[[test]]\nname = 'rabbitmq_a'\nrequired-features = ['service-tests']\n";

    fn found_in(fixture: &Fixture) -> Result<Vec<String>> {
        packages(fixture.workspace().metadata())
    }

    #[test]
    fn finds_the_packages_that_declare_the_feature() {
        let fixture = Fixture::new().member("plain", "").member("b", COMPLETE).file("members/b/tests/rabbitmq_a.rs", "");
        let packages = found_in(&fixture).unwrap();
        assert_eq!(packages, ["b"]);
        let words: Vec<_> = command(&packages).get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words.join(" "), "test --no-fail-fast --package b --features b/service-tests --test rabbitmq_*");
    }

    #[test]
    fn half_declared_tests_are_an_error() {
        let no_test = Fixture::new().member("a", "[features]\nservice-tests = []\n");
        let no_feature = Fixture::new().member("a", "").file("members/a/tests/rabbitmq_a.rs", "");
        let not_required = Fixture::new().member("a", "[features]\nservice-tests = []\n").file("members/a/tests/rabbitmq_a.rs", "");
        for fixture in [no_test, no_feature, not_required, Fixture::new().member("a", "")] {
            found_in(&fixture).unwrap_err();
        }
    }
}
