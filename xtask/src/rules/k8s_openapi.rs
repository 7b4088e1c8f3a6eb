//! No library chooses a Kubernetes version for `k8s-openapi`: only one can be on in a build, and it is the program's choice.

use anyhow::Result;
use cargo_metadata::{DependencyKind, Package};

use super::Workspace;

const CRATE: &str = "k8s-openapi";

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    Ok(workspace.libraries().flat_map(chosen).collect())
}

fn is_version(feature: &str) -> bool {
    feature.starts_with("v1_") || matches!(feature, "latest" | "earliest")
}

/// Features chosen at the dependency, and those that a feature of the library passes on.
fn chosen(library: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for dependency in
        library.dependencies.iter().filter(|dependency| dependency.name == CRATE && dependency.kind != DependencyKind::Development)
    {
        let name = dependency.rename.as_deref().unwrap_or(CRATE);
        let passed_on = |feature: &String| {
            let (to, feature) = feature.split_once('/')?;
            (to.trim_end_matches('?') == name).then(|| feature.to_owned())
        };
        let passed_on = library.features.values().flatten().filter_map(passed_on);
        let features = dependency.features.iter().cloned().chain(passed_on).filter(|feature| is_version(feature));
        found.extend(features.map(|feature| format!("{} enables {CRATE}/{feature}", library.name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    fn member(manifest: &str) -> Fixture {
        Fixture::new().member("library", manifest).vendor(CRATE, "[features]\nv1_33 = []\nlatest = []\nschemars = []\n")
    }

    #[test]
    fn a_version_at_the_dependency_or_in_a_feature_is_found() {
        for manifest in [
            "[dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi', features = ['v1_33'] }\n",
            "[dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi' }\n[features]\ndefault = ['k8s-openapi/v1_33']\n",
            "[dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi', optional = true }\n[features]\nk8s = ['dep:k8s-openapi', 'k8s-openapi?/v1_33']\n",
            "[dependencies]\nk8s = { path = '../../vendor/k8s-openapi', package = 'k8s-openapi' }\n[features]\nx = ['k8s/v1_33']\n",
        ] {
            assert_eq!(violations(&member(manifest).workspace()).unwrap(), ["library enables k8s-openapi/v1_33"], "{manifest}");
        }
    }

    #[test]
    fn tests_programs_and_other_features_are_fine() {
        let tests = "[dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi', features = ['schemars'] }\n[dev-dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi', features = ['latest'] }\n";
        assert_eq!(violations(&member(tests).workspace()).unwrap(), [""; 0]);
        let program = member("[dependencies]\nk8s-openapi = { path = '../../vendor/k8s-openapi', features = ['latest'] }\n");
        assert_eq!(violations(&program.file("members/library/src/main.rs", "fn main() {}\n").workspace()).unwrap(), [""; 0]);
    }
}
