//! Whose copies are being made: found again after a crash.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, Result};
use serde::de::DeserializeOwned;
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

impl Kept for Record {
    const FILE: &'static str = "copy.json";
}

/// Files of one migration's copy.
pub(crate) fn directory(work_dir: &Path, migration: &MigrationId) -> PathBuf {
    work_dir.join("migrations").join(migration.as_str()).join("copy")
}

/// What is kept of one migration's copy, in a file.
pub(crate) trait Kept: Serialize + DeserializeOwned {
    /// Its name.
    const FILE: &'static str;

    fn path(work_dir: &Path, migration: &MigrationId) -> PathBuf {
        directory(work_dir, migration).join(Self::FILE)
    }

    fn load(work_dir: &Path, migration: &MigrationId) -> Result<Option<Self>> {
        let file = Self::path(work_dir, migration);
        match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::fatal(ErrorKind::Corrupt, "the record of the copy cannot be read").with("file", file.display()).caused_by(error)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("the record", &file)(error)),
        }
    }

    /// Replaces it as a whole: a half-written one would hide a living copy.
    fn store(&self, work_dir: &Path, migration: &MigrationId) -> Result<()> {
        let directory = directory(work_dir, migration);
        make_directory(&directory, 0o700)?;
        let json = serde_json::to_string(self)
            .map_err(|error| Error::fatal(ErrorKind::Invalid, "the record of the copy cannot be written").caused_by(error))?;
        let file = directory.join(Self::FILE);
        let new = file.with_extension("json.new");
        write(&new, &json)?;
        std::fs::rename(&new, &file).map_err(io("the record", &file))
    }
}
