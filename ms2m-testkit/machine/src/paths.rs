//! Where things are on the host.

use std::env;
use std::path::{Path, PathBuf};

use crate::MachineError;

/// The read-only Debian root that every machine stands on, with CRIU, runc and crun: `$TESTBED/cache/node-root`, outside the clone,
/// so that all clones share it. `TESTBED` is `/var/tmp/ms2m-testbed` unless set.
///
/// # Errors
/// [`MachineError::NoRoot`] when `cargo xtask test criu` has not built it.
pub fn base_root() -> Result<PathBuf, MachineError> {
    let root = cache().join("node-root");
    if root.join(".done").exists() { Ok(root) } else { Err(MachineError::NoRoot(root)) }
}

/// Where what takes minutes to build is kept: `$TESTBED/cache`.
#[must_use]
pub fn cache() -> PathBuf {
    env::var_os("TESTBED").map_or_else(|| PathBuf::from("/var/tmp/ms2m-testbed"), PathBuf::from).join("cache")
}

/// A program of another package of this workspace, built before by `cargo xtask test criu`. (Cargo builds only the package's own
/// programs for its tests: for those use `env!("CARGO_BIN_EXE_name")`.)
///
/// # Errors
/// [`MachineError::NoProgram`] when it is not there.
pub fn workspace_program(package: &str, name: &str) -> Result<PathBuf, MachineError> {
    let path = profile_directory().join(name);
    if path.is_file() { Ok(path) } else { Err(MachineError::NoProgram { package: package.to_owned(), name: name.to_owned(), path }) }
}

/// `target/debug` or the like, where this test program lies in `deps`.
fn profile_directory() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let directory = program.parent().unwrap_or(Path::new("/"));
    let above = if directory.ends_with("deps") { directory.parent() } else { None };
    above.unwrap_or(directory).to_owned()
}

/// What of the host a machine sees: the target directory of this test program and the workspace.
#[must_use]
pub fn visible() -> Vec<PathBuf> {
    let profile = profile_directory();
    let target = profile.ancestors().find(|above| above.join("CACHEDIR.TAG").exists()).unwrap_or(&profile).to_owned();
    let mut paths = vec![target];
    // A target directory in the workspace is there with it.
    if let Some(workspace) = workspace() {
        paths.retain(|target| !target.starts_with(&workspace));
        paths.push(workspace);
    }
    paths
}

/// The workspace of the package under test.
pub(crate) fn workspace() -> Option<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)?;
    package.ancestors().find(|above| above.join("Cargo.lock").exists()).map(Path::to_owned)
}
