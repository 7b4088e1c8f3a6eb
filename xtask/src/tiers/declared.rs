//! Tests that need more than cargo: which packages have them, and the call that runs them.
//!
//! They are the integration tests of a package with the tier's prefix, which require the tier's feature.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, bail};
use cargo_metadata::{Metadata, TargetKind};

use crate::cargo::cargo;

/// How the tests of one tier are declared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared {
    pub(super) feature: &'static str,
    /// Of the tests' names.
    pub(super) prefixes: &'static [&'static str],
}

/// One call for all packages, so that their tests are built together; which of them, is added to it.
pub(super) fn tests_of_workspace(features: &[String]) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast", "--workspace", "--features", &features.join(",")]);
    command
}

impl Declared {
    pub(super) fn command(self, features: &[String]) -> Command {
        let mut command = tests_of_workspace(features);
        for prefix in self.prefixes {
            command.args(["--test", &format!("{prefix}*")]);
        }
        command
    }

    fn has(self, test: &str) -> bool {
        self.prefixes.iter().any(|prefix| test.starts_with(prefix))
    }

    /// The feature in each package with such tests, `PACKAGE/FEATURE`. A half-declared one is an error: its tests would silently never run.
    pub(super) fn features(self, metadata: &Metadata) -> Result<Vec<String>> {
        let Self { feature, prefixes } = self;
        let mut found = Vec::new();
        for package in metadata.workspace_packages() {
            let tests = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Test) && self.has(&target.name));
            let mut tests = tests.peekable();
            let declared = package.features.contains_key(feature);
            let has_tests = tests.peek().is_some();
            if has_tests != declared {
                bail!("{} has only one of: the feature {feature}, a test {}*", package.name, prefixes.join("* or "));
            }
            if let Some(test) = tests.find(|test| !test.required_features.iter().any(|required| required == feature)) {
                bail!("the test {} of {} lacks required-features = [\"{feature}\"]", test.name, package.name);
            }
            if declared {
                found.push(format!("{}/{feature}", package.name));
            }
        }
        if found.is_empty() {
            bail!("no package of the workspace has the feature {feature}");
        }
        Ok(found)
    }
}

/// The integration tests that belong to none of these tiers.
pub(super) fn of_no_tier(tiers: &[Declared], metadata: &Metadata) -> BTreeSet<String> {
    let targets = metadata.workspace_packages().into_iter().flat_map(|package| &package.targets);
    let tests = targets.filter(|target| target.kind.contains(&TargetKind::Test)).map(|target| &target.name);
    tests.filter(|name| !tiers.iter().any(|tier| tier.has(name))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    const TIER: Declared = Declared { feature: "service-tests", prefixes: &["rabbitmq_", "registry_"] };
    const COMPLETE: &str = "[features]\nservice-tests = []\n[[test]]\nname = 'rabbitmq_a'\nrequired-features = ['service-tests']\n";

    fn found_in(fixture: &Fixture) -> Result<Vec<String>> {
        TIER.features(fixture.workspace().metadata())
    }

    #[test]
    fn finds_the_packages_that_declare_the_feature() {
        let fixture = Fixture::new().member("plain", "").member("b", COMPLETE).file("members/b/tests/rabbitmq_a.rs", "");
        let features = found_in(&fixture).unwrap();
        assert_eq!(features, ["b/service-tests"]);
        let words: Vec<_> = TIER.command(&features).get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words.join(" "), "test --no-fail-fast --workspace --features b/service-tests --test rabbitmq_* --test registry_*");
    }

    #[test]
    fn what_is_of_no_tier_is_found_by_its_name() {
        let fixture = Fixture::new().member("a", COMPLETE).file("members/a/tests/rabbitmq_a.rs", "").file("members/a/tests/engine.rs", "");
        assert!(of_no_tier(&[TIER], fixture.workspace().metadata()).into_iter().eq(["engine"]));
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
