//! [`Image`]: what a container runs.

use std::path::{Path, PathBuf};

/// A program of the workspace, or some, with the shared libraries that they need, and nothing else: no shell, no `/tmp`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    program: PathBuf,
    others: Vec<PathBuf>,
    arguments: Vec<String>,
}

impl Image {
    /// Of this program, which the machine must see: one from the target directory, or of Debian.
    #[must_use]
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), others: Vec::new(), arguments: Vec::new() }
    }

    /// Another program beside it.
    #[must_use]
    pub fn and(mut self, program: impl Into<PathBuf>) -> Self {
        self.others.push(program.into());
        self
    }

    /// What the program is called with, unless a pod says otherwise.
    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Its programs, as the machine sees them.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.program).chain(&self.others).map(PathBuf::as_path)
    }

    /// The command line in the container.
    pub(crate) fn entrypoint(&self) -> Vec<String> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        [format!("/{name}")].into_iter().chain(self.arguments.iter().cloned()).collect()
    }
}
