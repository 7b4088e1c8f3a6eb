//! What is behind the wrapper. Engines call it with a command line of their own, so its configuration is a file.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_criu::runtime::Flavor;
use serde::Deserialize;

/// The file. It need not be there.
const FILE: &str = "/etc/ms2m/runtime.json";
/// Where runtimes are on nodes, beside the engine's own search path.
const PLACES: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// ```json
/// { "runtime": "/usr/bin/runc", "socket": "/run/ms2m/runtime.sock", "state": "/run/ms2m/runtime" }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The runtime that does the work: runc or crun, by its file [default: the first one of the search path].
    pub(crate) runtime: PathBuf,
    /// Where the node's agent listens.
    pub(crate) socket: PathBuf,
    /// Where files of restored containers are.
    pub(crate) state: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { runtime: PathBuf::new(), socket: ms2m_criu::pod::SOCKET.into(), state: "/run/ms2m/runtime".into() }
    }
}

impl Config {
    pub(crate) fn load() -> Result<Self> {
        Self::of(Path::new(FILE))
    }

    fn of(file: &Path) -> Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| {
            let message = format!("the configuration of ms2m-runtime cannot be read: {error}");
            Error::fatal(ErrorKind::Invalid, message).with("file", file.display())
        };
        let config = match std::fs::read(file) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| invalid(&error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(invalid(&error)),
        };
        if config.runtime.as_os_str().is_empty() { Ok(Self { runtime: found()?, ..config }) } else { Ok(config) }
    }

    /// Which one it is, by its name.
    pub(crate) fn flavor(&self) -> Flavor {
        let crun = self.runtime.file_name().is_some_and(|name| name.to_string_lossy().contains("crun"));
        if crun { Flavor::Crun } else { Flavor::Runc }
    }

    pub(crate) fn cannot_start(&self, error: std::io::Error) -> Error {
        let message = format!("the runtime behind ms2m-runtime cannot be started; install it, or name another one in {FILE}");
        Error::fatal(ErrorKind::Unsupported, message).with("runtime", self.runtime.display()).caused_by(error)
    }
}

/// Not this program, whatever it was installed as.
fn found() -> Result<PathBuf> {
    let own = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<_> = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from)).collect();
    let candidates = ["runc", "crun"].into_iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    let other = |file: &PathBuf| file.is_file() && std::fs::canonicalize(file).is_ok_and(|file| file != own);
    candidates.into_iter().find(other).ok_or_else(|| {
        let message = format!("there is neither runc nor crun on this node; install one, or name it in {FILE}");
        Error::fatal(ErrorKind::Unsupported, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runtime.json");
        std::fs::write(&file, r#"{"runtime": "/opt/bin/crun"}"#).unwrap();
        let config = Config::of(&file).unwrap();
        assert_eq!((config.flavor(), config.socket), (Flavor::Crun, PathBuf::from("/run/ms2m/runtime.sock")));
        for odd in ["{", r#"{"runtme": "/x"}"#] {
            std::fs::write(&file, odd).unwrap();
            assert!(Config::of(&file).unwrap_err().to_string().contains("configuration of ms2m-runtime"));
        }
    }
}
