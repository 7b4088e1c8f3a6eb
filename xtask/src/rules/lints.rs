//! Every package takes the workspace's lints (which forbid unsafe code), and every library denies missing documentation.

use anyhow::{Context, Result};
use toml::Table;

use super::Workspace;

const DENY: &str = "#![deny(missing_docs)]";

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let read = |path: &cargo_metadata::camino::Utf8Path| std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
    let mut found = Vec::new();
    for package in workspace.members() {
        let manifest: Table = read(&package.manifest_path)?.parse().with_context(|| format!("{} is not TOML", package.manifest_path))?;
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if inherits != Some(true) {
            found.push(format!("{} lacks [lints] workspace = true", package.name));
        }
        for library in package.targets.iter().filter(|target| target.is_lib()) {
            if !read(&library.src_path)?.lines().any(|line| line.trim_end() == DENY) {
                found.push(format!("{} lacks {DENY}", library.src_path));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    #[test]
    fn a_package_without_the_lints_is_found() {
        let fixture = Fixture::new().member("package", "").file("members/package/src/lib.rs", "//! Documented.\n#![deny(missing_docs)]\n");
        assert_eq!(violations(&fixture.workspace()).unwrap(), ["package lacks [lints] workspace = true"]);
    }

    #[test]
    fn a_library_that_need_not_be_documented_is_found() {
        let fixture = Fixture::new()
            .member("package", "[lints]\nworkspace = true\n")
            .file("members/package/src/lib.rs", "// #![deny(missing_docs)]\n");
        let found = violations(&fixture.workspace()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("package/src/lib.rs lacks #![deny(missing_docs)]"), "{found:?}");
    }

    #[test]
    fn a_package_with_both_is_fine() {
        let fixture =
            Fixture::new().member("package", "[lints]\nworkspace = true\n").file("members/package/src/lib.rs", "#![deny(missing_docs)]\n");
        assert_eq!(violations(&fixture.workspace()).unwrap(), [""; 0]);
    }
}
