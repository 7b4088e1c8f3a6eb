//! A backend depends on `ms2m-core` and never on another backend, not even through a dependency.

use anyhow::Result;
use cargo_metadata::DependencyKind;

use super::Workspace;

const CORE: &str = "ms2m-core";

fn is_backend(name: &str) -> bool {
    matches!(name, "ms2m-broker" | "ms2m-criu" | "ms2m-oci" | "ms2m-k8s") || name.starts_with("ms2m-transfer-")
}

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let members = workspace.members();
    let backends: Vec<_> = members.iter().filter(|package| is_backend(&package.name)).collect();
    let mut found = Vec::new();
    for backend in &backends {
        if !backend.dependencies.iter().any(|dependency| dependency.kind == DependencyKind::Normal && dependency.name == CORE) {
            found.push(format!("{} does not depend on {CORE}", backend.name));
        }
        let tree = workspace.tree(Some(&backend.name))?;
        found.extend(backends.iter().filter_map(|other| tree.path(&backend.name, &other.name)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    const ON_CORE: &str = "[dependencies]\nms2m-core = { path = '../ms2m-core' }\n";

    fn fixture(extra: &str) -> Fixture {
        Fixture::new().member("ms2m-core", "").member("ms2m-broker", ON_CORE).member("ms2m-transfer-direct", &format!("{ON_CORE}{extra}"))
    }

    #[test]
    fn backends_on_core_alone_are_fine() {
        let in_tests = fixture("[dev-dependencies]\nms2m-broker = { path = '../ms2m-broker' }\n");
        assert_eq!(violations(&in_tests.workspace()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_backend_on_a_backend_is_found() {
        let direct = fixture("ms2m-broker = { path = '../ms2m-broker' }\n");
        assert_eq!(violations(&direct.workspace()).unwrap(), ["ms2m-transfer-direct -> ms2m-broker"]);
        let through =
            fixture("helper = { path = '../helper' }\n").member("helper", "[dependencies]\nms2m-broker = { path = '../ms2m-broker' }\n");
        assert_eq!(violations(&through.workspace()).unwrap(), ["ms2m-transfer-direct -> helper -> ms2m-broker"]);
    }

    #[test]
    fn a_backend_without_core_is_found() {
        let fixture = Fixture::new().member("ms2m-oci", "");
        assert_eq!(violations(&fixture.workspace()).unwrap(), ["ms2m-oci does not depend on ms2m-core"]);
    }
}
