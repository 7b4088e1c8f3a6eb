//! Small workspaces on disk for the rules' tests, described by the real cargo.

use std::path::Path;

use tempfile::TempDir;

use super::Workspace;

/// A workspace of `members/*`; what is in `vendor/*` plays the part of the crates from elsewhere.
#[derive(Debug)]
pub(crate) struct Fixture(TempDir);

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fixture.file(
            "Cargo.toml",
            "[workspace]\nresolver = '3'\nmembers = ['members/*']\nexclude = ['vendor']\n[workspace.lints.rust]\nunsafe_code = 'forbid'\n",
        )
    }

    /// Adds a member with an empty library; `manifest` goes on in its `[package]`.
    pub(crate) fn member(self, name: &str, manifest: &str) -> Self {
        self.package(&format!("members/{name}"), name, manifest)
    }

    /// The same for a crate outside the workspace.
    pub(crate) fn vendor(self, name: &str, manifest: &str) -> Self {
        self.package(&format!("vendor/{name}"), name, manifest)
    }

    fn package(self, folder: &str, name: &str, manifest: &str) -> Self {
        let manifest = format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n{manifest}");
        self.file(&format!("{folder}/Cargo.toml"), &manifest).file(&format!("{folder}/src/lib.rs"), "")
    }

    /// Writes a file, over the one that may be there.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::load(self.0.path()).unwrap()
    }
}
