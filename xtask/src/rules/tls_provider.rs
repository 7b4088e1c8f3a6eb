//! A library never installs a TLS provider for the whole process: that is the program's to decide.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Workspace;

pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for library in workspace.libraries() {
        let folder = library.manifest_path.with_file_name("src");
        for file in sources(folder.as_std_path())? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            found.extend(lines(&text).map(|line| format!("{}:{line} installs a TLS provider", file.display())));
        }
    }
    Ok(found)
}

/// The numbers of the lines that do it, outside comments and the unit tests at the end of a file.
fn lines(text: &str) -> impl Iterator<Item = usize> {
    let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").enumerate();
    code.filter(|(_, line)| !line.trim_start().starts_with("//") && line.contains("install_default(")).map(|(index, _)| index + 1)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::Fixture;

    const INSTALLS: &str = "fn f() {\n    provider().install_default();\n}\n";

    #[test]
    fn a_library_that_installs_one_is_found() {
        let fixture = Fixture::new().member("library", "").file("members/library/src/deep/tls.rs", INSTALLS);
        let found = violations(&fixture.workspace()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("library/src/deep/tls.rs:2 installs a TLS provider"), "{found:?}");
    }

    #[test]
    fn a_program_a_comment_and_a_test_may() {
        let fixture = Fixture::new()
            .member("program", "")
            .file("members/program/src/main.rs", &format!("fn main() {{}}\n{INSTALLS}"))
            .member("library", "")
            .file("members/library/src/lib.rs", &format!("//! Call `install_default()`.\n#[cfg(test)]\nmod tests {{\n{INSTALLS}}}\n"));
        assert_eq!(violations(&fixture.workspace()).unwrap(), [""; 0]);
    }
}
