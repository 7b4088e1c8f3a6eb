//! One crypto provider, aws-lc-rs, and no other TLS stack.

use anyhow::Result;

use super::Workspace;

const PROVIDER: &str = "aws-lc-rs";
const FORBIDDEN: [&str; 3] = ["ring", "openssl", "openssl-sys"];

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let tree = workspace.tree(None)?;
    let members = workspace.members();
    let mut found = Vec::new();
    for name in FORBIDDEN.into_iter().filter(|name| tree.contains(name)) {
        found.push(members.iter().find_map(|member| tree.path(&member.name, name)).unwrap_or_else(|| name.to_owned()));
    }
    if tree.contains("rustls") && !tree.contains(PROVIDER) {
        found.push(format!("rustls is there without {PROVIDER}"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    fn app_on(vendored: &[&str]) -> Fixture {
        let dependencies: String = vendored.iter().map(|name| format!("{name} = {{ path = '../../vendor/{name}' }}\n")).collect();
        let fixture = Fixture::new().member("app", &format!("[dependencies]\n{dependencies}"));
        vendored.iter().fold(fixture, |fixture, name| fixture.vendor(name, ""))
    }

    #[test]
    fn each_forbidden_crate_is_found() {
        for name in FORBIDDEN {
            assert_eq!(violations(&app_on(&[name]).workspace()).unwrap(), [format!("app -> {name}")]);
        }
    }

    #[test]
    fn rustls_needs_the_provider() {
        assert_eq!(violations(&app_on(&["rustls", "aws-lc-rs"]).workspace()).unwrap(), [""; 0]);
        assert_eq!(violations(&app_on(&["rustls"]).workspace()).unwrap(), ["rustls is there without aws-lc-rs"]);
    }

    /// `ring` is in the lock file of everybody who uses rustls-webpki, and nobody builds it.
    #[test]
    fn what_only_a_weak_feature_names_is_not_in_the_tree() {
        let fixture = Fixture::new()
            .member("app", "[dependencies]\nwebpki = { path = '../../vendor/webpki', features = ['alloc'] }\n")
            .vendor(
                "webpki",
                "[dependencies]\nring = { path = '../ring', optional = true }\n[features]\nalloc = ['ring?/alloc']\nring = ['dep:ring']\n",
            )
            .vendor("ring", "[features]\nalloc = []\n");
        assert_eq!(violations(&fixture.workspace()).unwrap(), [""; 0]);
    }
}
