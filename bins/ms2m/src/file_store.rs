//! State in files, so that another process can go on.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, MigrationId, MigrationState, Result, StateStore};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

/// Keeps each migration's state in a file.
#[derive(Clone, Debug)]
pub(crate) struct FileStore(PathBuf);

impl FileStore {
    /// States below this directory, which must exist.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn file(&self, migration: &MigrationId) -> PathBuf {
        self.0.join(format!("{migration}.json"))
    }
}

#[async_trait]
impl StateStore for FileStore {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        let (path, state) = (self.file(&state.spec().migration), state.clone());
        blocking(move || write_json(&path, &state)).await
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        let path = self.file(migration);
        blocking(move || read_json(&path)).await
    }

    async fn remove(&self, migration: &MigrationId) -> Result<()> {
        let path = self.file(migration);
        blocking(move || found(fs::remove_file(&path), &path).map(drop)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::fatal(ErrorKind::Other, "a file operation has crashed").caused_by(error)))
}

/// Reads a file if it exists.
pub(crate) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    let Some(content) = found(fs::read(path), path)? else { return Ok(None) };
    serde_json::from_slice(&content).map(Some).map_err(|error| failed(path, error))
}

/// Writes a file so that it is there as a whole or not at all, also after a crash of this process. It is not synced: a crash of the
/// machine ends both consumers as well, and syncs would be most of a migration's time.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error| failed(path, error))
}

pub(crate) fn found<T>(result: std::io::Result<T>, path: &Path) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

pub(crate) fn failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::fatal(ErrorKind::Other, "a file of the state cannot be read or written").with("file", path.display()).caused_by(error)
}
