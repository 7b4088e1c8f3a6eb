//! Whose copies are being made: found again after a crash.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, Result};
use serde::{Deserialize, Serialize};

use super::bundle::{io, make_directory, write};

/// What [`LocalTarget`](super::LocalTarget) knows of one migration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Who the copy is.
    pub(super) copy: InstanceId,
    /// Its containers.
    pub(super) containers: Vec<String>,
    /// Whether it is the owner's own now, and must not be discarded any more.
    pub(super) promoted: bool,
}

pub(super) fn directory(work_dir: &Path, migration: &MigrationId) -> PathBuf {
    work_dir.join("migrations").join(migration.as_str()).join("copy")
}

impl Record {
    pub(super) fn load(work_dir: &Path, migration: &MigrationId) -> Result<Option<Self>> {
        let file = directory(work_dir, migration).join("copy.json");
        match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::fatal(ErrorKind::Corrupt, "the record of the copy cannot be read").with("file", file.display()).caused_by(error)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("the record", &file)(error)),
        }
    }

    /// Replaces it as a whole: a half-written one would hide a living copy.
    pub(super) fn store(&self, work_dir: &Path, migration: &MigrationId) -> Result<()> {
        let directory = directory(work_dir, migration);
        make_directory(&directory, 0o700)?;
        let json = serde_json::to_string(self)
            .map_err(|error| Error::fatal(ErrorKind::Invalid, "the record of the copy cannot be written").caused_by(error))?;
        let (new, file) = (directory.join("copy.json.new"), directory.join("copy.json"));
        write(&new, &json)?;
        std::fs::rename(&new, &file).map_err(io("the record", &file))
    }
}
