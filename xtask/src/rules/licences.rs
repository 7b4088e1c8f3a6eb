//! Every package, down to the last dependency, comes under a licence that we may pass on.

use anyhow::Result;
use spdx::{Expression, LicenseReq, ParseMode};

use super::Workspace;

const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What one package may have beyond that.
const EXCEPTIONS: [(&str, &str); 1] = [("aws-lc-sys", "OpenSSL")];

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let packages = &workspace.metadata().packages;
    Ok(packages
        .iter()
        .filter_map(|package| {
            Some(format!("{} {}: {}", package.name, package.version, objection(&package.name, package.license.as_deref()).err()?))
        })
        .collect())
}

fn objection(package: &str, licence: Option<&str>) -> Result<(), String> {
    let licence = licence.ok_or("names no licence")?;
    // Old manifests write `MIT/Apache-2.0`.
    let mode = ParseMode { allow_slash_as_or_operator: true, ..ParseMode::STRICT };
    let expression =
        Expression::parse_mode(licence, mode).map_err(|error| format!("`{licence}` is not an SPDX expression: {}", error.reason))?;
    if expression.evaluate(|requirement| is_allowed(package, requirement)) { Ok(()) } else { Err(format!("`{licence}` is not allowed")) }
}

fn is_allowed(package: &str, requirement: &LicenseReq) -> bool {
    let name = requirement.license.id().map(|id| id.name);
    let listed = name.is_some_and(|name| ALLOWED.contains(&name) || EXCEPTIONS.contains(&(package, name)));
    // What follows WITH only grants more; the one we meet is named all the same.
    let addition = requirement.addition.as_ref().map(ToString::to_string);
    listed && addition.is_none_or(|addition| addition == "LLVM-exception")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    #[test]
    fn a_dependency_under_another_licence_is_found() {
        let fixture = Fixture::new()
            .member("app", "license = 'Apache-2.0'\n[dependencies]\ncopyleft = { path = '../../vendor/copyleft' }\nsilent = { path = '../../vendor/silent' }\n")
            .vendor("copyleft", "license = 'GPL-3.0-only'\n")
            .vendor("silent", "");
        assert_eq!(
            violations(&fixture.workspace()).unwrap(),
            ["copyleft 0.1.0: `GPL-3.0-only` is not allowed", "silent 0.1.0: names no licence"]
        );
    }

    #[test]
    fn expressions_are_evaluated() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR ISC",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert_eq!(objection("any", Some(licence)), Ok(()), "{licence}");
        }
        for licence in [
            "AGPL-3.0-only",
            "MIT AND GPL-2.0-only",
            "LicenseRef-own",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "Apache-2.0 WITH Classpath-exception-2.0",
            "not a licence",
            "",
        ] {
            assert!(objection("any", Some(licence)).is_err(), "{licence}");
        }
    }

    #[test]
    fn an_exception_is_for_one_package() {
        assert_eq!(objection("aws-lc-sys", Some("ISC AND OpenSSL")), Ok(()));
        assert!(objection("other", Some("ISC AND OpenSSL")).is_err());
    }
}
