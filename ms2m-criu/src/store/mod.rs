//! Where drivers keep the checkpoints that they take, and what arrives: one directory for each migration, below one work directory.
//!
//! ```text
//! WORK_DIR/MIGRATION/          mode 0700: a checkpoint is all of a process' memory
//!   lock                       held (shared) by whoever works with it
//!   images/PART/CONTAINER/     CRIU's images; `parent` links to the round before
//!   beside/PART/CONTAINER/     what travels beside them: rootfs-diff.tar, volumes/, …
//!   parts/PART/                what travels, as hard links to the above; complete once manifest.json is there
//!   arrived/PART/              what has come from the source
//!   …                          the driver's own files
//! ```
//!
//! Each part is an archive of its own. Its images are always in `containers/CONTAINER/checkpoint/`, without links: the target knows the
//! order of the parts, and [`JobDir::link`] chains them again.

mod job;
mod remove;
mod unpack;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, MigrationId, Result};

pub use job::JobDir;

const LOCK: &str = "lock";

/// A work directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a work directory, and makes it when it is missing. Put it onto a disk with room for the memory of what is migrated, and on
    /// the file system of the images' further use: parts are hard links.
    ///
    /// # Errors
    /// When it can neither be found nor made, or others may write there.
    pub fn open(work_dir: impl Into<PathBuf>) -> Result<Self> {
        let root = work_dir.into();
        let failed = |error| failed("making the work directory", &root, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(failed)?;
        let metadata = fs::metadata(&root).map_err(failed)?;
        if metadata.permissions().mode() & 0o022 != 0 {
            let text =
                "others may write into the work directory, and a checkpoint is all of a process' memory: chmod 700, or name another one";
            return Err(Error::fatal(ErrorKind::Unauthorized, text).with("directory", root.display()));
        }
        // Links and /proc entries are made from these paths, by programs with other working directories.
        let root = root.canonicalize().map_err(failed)?;
        Ok(Self { root })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a migration, made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or is just being removed.
    pub fn job(&self, migration: &MigrationId) -> Result<JobDir> {
        let path = self.root.join(migration.as_str());
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("making a migration's directory", &path, error)),
            _ => JobDir::hold(path, migration.clone()),
        }
    }

    /// The directory of a migration, if there is one.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn existing(&self, migration: &MigrationId) -> Result<Option<JobDir>> {
        let path = self.root.join(migration.as_str());
        match path.try_exists() {
            Ok(true) => JobDir::hold(path, migration.clone()).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(failed("looking for a migration's directory", &path, error)),
        }
    }

    /// Removes the directory of a migration with everything in it. Missing is `Ok`.
    ///
    /// # Errors
    /// When something may be left over.
    pub fn remove(&self, migration: &MigrationId) -> Result<()> {
        remove::tree(&self.root.join(migration.as_str()))
    }

    /// The migrations that have a directory here.
    ///
    /// # Errors
    /// When the work directory cannot be read.
    pub fn migrations(&self) -> Result<Vec<MigrationId>> {
        let failed = |error| failed("reading the work directory", &self.root, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| MigrationId::new(name).ok()));
        }
        found.sort();
        Ok(found)
    }

    /// What dead drivers have left: migrations that nobody has opened, and that `wanted` does not know either (it is asked for what a
    /// driver will go on with). They are not removed, for a driver may have more to end than files.
    ///
    /// # Errors
    /// When the work directory cannot be read.
    pub fn orphans(&self, wanted: impl Fn(&MigrationId) -> bool) -> Result<Vec<MigrationId>> {
        let mut orphans = self.migrations()?;
        orphans.retain(|migration| !wanted(migration) && !self.is_held(migration));
        Ok(orphans)
    }

    fn is_held(&self, migration: &MigrationId) -> bool {
        match File::open(self.root.join(migration.as_str()).join(LOCK)) {
            Ok(lock) => lock.try_lock().is_err(),
            // Its driver died before it had a lock, or makes it right now: then the next look will tell.
            Err(_) => false,
        }
    }
}

/// An error about a file, with what to look at.
pub(crate) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let text = |remedy: &str| format!("{what} failed: {remedy}");
    let shown = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::fatal(ErrorKind::LimitExceeded, text("make room on its disk")),
        io::ErrorKind::PermissionDenied => Error::fatal(ErrorKind::Unauthorized, text("run as root, or name another directory")),
        io::ErrorKind::NotFound => Error::undo(ErrorKind::NotFound, text("it is not there any more")),
        _ => Error::retry(ErrorKind::Unavailable, text("look at its disk")),
    };
    shown.with("path", path.display()).caused_by(error)
}

#[cfg(test)]
mod tests;
