//! What an agent knows of the copies in its node's pods: found again after a restart.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde::{Deserialize, Serialize};

use super::wire::Hello;
use crate::local::bundle::{io, make_directory, write};

/// The copy of one migration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The containers that wait, or have waited.
    pub(super) containers: Vec<Hello>,
    /// Whether the copy may live.
    pub(super) ordered: bool,
    /// Whether it is the owner's own now, and must not be discarded any more.
    pub(super) promoted: bool,
}

/// Files of one migration's copy.
pub(super) fn directory(work_dir: &Path, migration: &MigrationId) -> PathBuf {
    work_dir.join("migrations").join(migration.as_str()).join("copy")
}

impl Record {
    pub(super) fn load(work_dir: &Path, migration: &MigrationId) -> Result<Option<Self>> {
        let file = directory(work_dir, migration).join("pod.json");
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
        let odd = |error| Error::fatal(ErrorKind::Invalid, "the record of the copy cannot be written").caused_by(error);
        let json = serde_json::to_string(self).map_err(odd)?;
        let (new, file) = (directory.join("pod.json.new"), directory.join("pod.json"));
        write(&new, &json)?;
        std::fs::rename(&new, &file).map_err(io("the record", &file))
    }
}
