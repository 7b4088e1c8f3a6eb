//! What is known of the copies in this node's pods that are restored from images: found again after a restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde::{Deserialize, Serialize};

const FILE: &str = "image.json";

/// The copy of one migration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The pod.
    pub(super) pod_uid: String,
    /// Its container that is restored.
    pub(super) container: String,
    /// The application's own image.
    pub(super) base_image: String,
    /// Whether the checkpoint was, or is just being, given the name: from then on kubelet may make the container of it.
    pub(super) loaded: bool,
    /// The container that runs; the name means nothing any more.
    pub(super) started: Option<String>,
    /// Whether it is the owner's own now, and must not be discarded any more.
    pub(super) promoted: bool,
}

/// Files of one migration's copy.
pub(super) fn directory(work_dir: &Path, migration: &MigrationId) -> PathBuf {
    work_dir.join("migrations").join(migration.as_str()).join("image")
}

impl Record {
    pub(super) fn load(work_dir: &Path, migration: &MigrationId) -> Result<Option<Self>> {
        let file = directory(work_dir, migration).join(FILE);
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::fatal(ErrorKind::Corrupt, "the record of the copy cannot be read").with("file", file.display()).caused_by(error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&file)(error)),
        }
    }

    /// Replaces it as a whole: a half-written one would hide a living copy.
    pub(super) fn store(&self, work_dir: &Path, migration: &MigrationId) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let directory = directory(work_dir, migration);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed(&directory))?;
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::fatal(ErrorKind::Invalid, "the record of the copy cannot be written").caused_by(error))?;
        let (file, new) = (directory.join(FILE), directory.join("image.json.new"));
        fs::write(&new, json).and_then(|()| fs::rename(&new, &file)).map_err(failed(&file))
    }
}

/// Removes the files of one migration's copy.
pub(super) fn remove(work_dir: &Path, migration: &MigrationId) -> Result<()> {
    let directory = directory(work_dir, migration);
    remove_directory(&directory)?;
    // The migration's own, unless a source of it is here, too.
    let _ = directory.parent().map(fs::remove_dir);
    Ok(())
}

/// The migrations of which something is kept here.
pub(super) fn migrations(work_dir: &Path) -> Vec<MigrationId> {
    let found = fs::read_dir(work_dir.join("migrations")).into_iter().flatten().flatten();
    found.filter_map(|entry| MigrationId::new(entry.file_name().into_string().ok()?).ok()).collect()
}

pub(super) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == io::ErrorKind::StorageFull { ErrorKind::LimitExceeded } else { ErrorKind::Other };
        Error::undo(kind, "a file of the copy cannot be made or removed").with("path", path).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_again_and_goes() {
        let work = tempfile::tempdir().unwrap();
        let migration = MigrationId::new("m-1").unwrap();
        assert_eq!(Record::load(work.path(), &migration).unwrap(), None);
        let record = Record { pod_uid: "u".into(), loaded: true, ..Record::default() };
        record.store(work.path(), &migration).unwrap();
        assert_eq!(Record::load(work.path(), &migration).unwrap(), Some(record));
        assert_eq!(migrations(work.path()).as_slice(), std::slice::from_ref(&migration));
        remove(work.path(), &migration).unwrap();
        remove(work.path(), &migration).unwrap();
        assert!(migrations(work.path()).is_empty(), "nothing is left of it");
    }
}
