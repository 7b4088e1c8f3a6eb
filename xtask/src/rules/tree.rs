//! A dependency graph read from `cargo tree --prefix depth --format {p}`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

/// Which package depends on which, by name.
#[derive(Debug, Default)]
pub(super) struct Tree {
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Tree {
    /// A line is the depth and the package, as in `2serde v1.0.0 (proc-macro) (*)`; a subtree is printed once.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut tree = Self::default();
        let mut above: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let unexpected = || format!("`cargo tree` printed an unexpected line: {line}");
            let end = line.find(|c: char| !c.is_ascii_digit()).with_context(unexpected)?;
            let depth: usize = line[..end].parse().with_context(unexpected)?;
            let name = line[end..].split(' ').next().filter(|name| !name.is_empty()).with_context(unexpected)?;
            anyhow::ensure!(depth <= above.len(), unexpected());
            above.truncate(depth);
            if let Some(parent) = above.last() {
                tree.dependencies.entry(parent.clone()).or_default().insert(name.to_owned());
            }
            tree.dependencies.entry(name.to_owned()).or_default();
            above.push(name.to_owned());
        }
        Ok(tree)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.dependencies.contains_key(name)
    }

    /// The chain by which `from` comes to depend on `to`, as `a -> b -> c`.
    pub(super) fn path(&self, from: &str, to: &str) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![vec![from]];
        while let Some(chain) = open.pop() {
            let last = *chain.last()?;
            if last == to && chain.len() > 1 {
                return Some(chain.join(" -> "));
            }
            for next in self.dependencies.get(last).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(chain.iter().copied().chain([next.as_str()]).collect());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "0app v0.1.0 (/somewhere)\n1web v1.0.0\n2tls v2.0.0\n1derive v1.0.0 (proc-macro)\n2syn v2.0.0\n\n0tool v0.1.0 (/elsewhere)\n1web v1.0.0 (*)\n";

    #[test]
    fn depths_become_edges() {
        let tree = Tree::parse(SAMPLE).unwrap();
        assert_eq!(tree.path("app", "tls").unwrap(), "app -> web -> tls");
        assert_eq!(tree.path("tool", "tls").unwrap(), "tool -> web -> tls");
        assert_eq!(tree.path("tool", "syn"), None);
        assert_eq!(tree.path("app", "app"), None);
        assert!(tree.contains("syn") && !tree.contains("openssl"));
    }

    #[test]
    fn an_unknown_format_is_an_error() {
        for text in ["app v0.1.0", "0", "0app v1\n2deep v1"] {
            Tree::parse(text).unwrap_err();
        }
    }
}
