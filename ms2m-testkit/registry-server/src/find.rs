//! Where the program is.

use std::env;
use std::path::{Path, PathBuf};

use crate::StartError;

/// The names that packagers give it.
const NAMES: [&str; 2] = ["docker-registry", "registry"];

pub(crate) fn program() -> Result<PathBuf, StartError> {
    if let Some(path) = env::var_os("DOCKER_REGISTRY") {
        return Ok(path.into());
    }
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let programs = on_path.flat_map(|directory| NAMES.map(|name| directory.join(name)));
    programs.into_iter().find(|path| Path::is_file(path)).ok_or(StartError::NotInstalled)
}
