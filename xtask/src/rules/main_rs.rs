//! The main file of a program is short: what it does is in libraries and modules, where it can be tested.

use anyhow::{Context, Result};

use super::Workspace;

const LINES_MAX: usize = 150;

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for target in workspace.members().iter().flat_map(|package| &package.targets).filter(|target| target.is_bin()) {
        let text = std::fs::read_to_string(&target.src_path).with_context(|| format!("{} cannot be read", target.src_path))?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{} has {lines} lines, more than {LINES_MAX}", target.src_path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    fn program_of(lines: usize) -> Fixture {
        Fixture::new().member("program", "").file("members/program/src/main.rs", &format!("fn main() {{}}\n{}", "//\n".repeat(lines - 1)))
    }

    #[test]
    fn one_line_too_many_is_found() {
        assert_eq!(violations(&program_of(LINES_MAX).workspace()).unwrap(), [""; 0]);
        let found = violations(&program_of(LINES_MAX + 1).workspace()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("program/src/main.rs has 151 lines, more than 150"), "{found:?}");
    }
}
