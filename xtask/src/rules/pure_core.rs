//! `ms2m-core` knows neither Kubernetes nor AMQP nor HTTP, not even through a dependency.

use anyhow::Result;

use super::Workspace;

const CORE: &str = "ms2m-core";
const FORBIDDEN: [&str; 7] = ["kube", "k8s-openapi", "lapin", "hyper", "reqwest", "axum", "rustls"];

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let tree = workspace.tree(Some(CORE))?;
    Ok(FORBIDDEN.iter().filter_map(|name| tree.path(CORE, name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    #[test]
    fn a_forbidden_dependency_of_a_dependency_is_found() {
        let fixture = Fixture::new()
            .member("ms2m-core", "[dependencies]\nclient = { path = '../../vendor/client' }\n")
            .vendor("client", "[dependencies]\nhyper = { path = '../hyper' }\n")
            .vendor("hyper", "");
        assert_eq!(violations(&fixture.workspace()).unwrap(), ["ms2m-core -> client -> hyper"]);
    }

    #[test]
    fn an_optional_dependency_counts_and_one_of_the_tests_does_not() {
        let optional = Fixture::new()
            .member("ms2m-core", "[dependencies]\nkube = { path = '../../vendor/kube', optional = true }\n")
            .vendor("kube", "");
        assert_eq!(violations(&optional.workspace()).unwrap(), ["ms2m-core -> kube"]);
        let dev = Fixture::new().member("ms2m-core", "[dev-dependencies]\nkube = { path = '../../vendor/kube' }\n").vendor("kube", "");
        assert_eq!(violations(&dev.workspace()).unwrap(), [""; 0]);
    }
}
