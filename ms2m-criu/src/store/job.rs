//! [`JobDir`]: the files of one migration.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, MigrationId, Part, Result};

use super::{LOCK, failed, remove};
use crate::archive::{MANIFEST, Manifest, TarPlan};

const IMAGES: &str = "images";
const BESIDE: &str = "beside";
const PARTS: &str = "parts";
pub(super) const ARRIVED: &str = "arrived";

/// The directory of one migration, held as long as this (or a clone of it) lives; see [the module](super).
///
/// Its methods block for as long as a disk takes for a few small files.
#[derive(Clone, Debug)]
pub struct JobDir {
    path: PathBuf,
    migration: MigrationId,
    _lock: Arc<File>,
}

impl JobDir {
    pub(super) fn hold(path: PathBuf, migration: MigrationId) -> Result<Self> {
        let lock = path.join(LOCK);
        let busy = || Error::retry(ErrorKind::Unavailable, "the migration's directory is just being looked at: try again");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&lock);
        let file = file.map_err(|error| failed("locking a migration's directory", &lock, error))?;
        file.try_lock_shared().map_err(|_| busy().with("directory", path.display()))?;
        Ok(Self { path, migration, _lock: Arc::new(file) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    #[must_use]
    pub fn migration(&self) -> &MigrationId {
        &self.migration
    }

    /// An empty directory for CRIU's images of a container. What an earlier attempt at this part left is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn images(&self, part: Part, container: &str) -> Result<PathBuf> {
        self.emptied(IMAGES, part, container)
    }

    /// Where the images of an earlier round are, as seen from a container's images: CRIU's `--prev-images-dir`.
    #[must_use]
    pub fn parent(&self, round: u32, container: &str) -> PathBuf {
        Path::new("../..").join(Part::Round(round).to_string()).join(container)
    }

    /// An empty directory for what travels beside a container's images (`rootfs-diff.tar`, `volumes/`, `spec.json`).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn beside(&self, part: Part, container: &str) -> Result<PathBuf> {
        self.emptied(BESIDE, part, container)
    }

    fn emptied(&self, kind: &str, part: Part, container: &str) -> Result<PathBuf> {
        // What was planned from the earlier content does not stand any more.
        self.forget_plan(part)?;
        let path = self.path.join(kind).join(part.to_string()).join(container);
        remove::tree(&path)?;
        make(&path)?;
        Ok(path)
    }

    /// Lays out what travels of a part, from what is in [`images`](Self::images) and [`beside`](Self::beside) of the containers of this
    /// manifest, and notes that the part is complete.
    ///
    /// # Errors
    /// When something there does not travel, or a link cannot be made.
    pub fn plan(&self, part: Part, manifest: Manifest) -> Result<TarPlan> {
        self.forget_plan(part)?;
        let parts = self.part(part);
        for container in manifest.containers.iter().map(|container| container.name.as_str()) {
            let target = parts.join("containers").join(container);
            link_files(&self.path.join(IMAGES).join(part.to_string()).join(container), &target.join("checkpoint"))?;
            let beside = self.path.join(BESIDE).join(part.to_string()).join(container);
            if beside.exists() {
                link_files(&beside, &target)?;
            }
        }
        let plan = TarPlan::scan(&parts, manifest)?;
        let json = serde_json::to_vec(plan.manifest())
            .map_err(|error| Error::fatal(ErrorKind::Other, "a manifest has no JSON").caused_by(error))?;
        self.write(&parts.join(MANIFEST), &json)?;
        Ok(plan)
    }

    /// The same plan again, also in another process: what [`plan`](Self::plan) has completed, and nothing has changed since.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn planned(&self, part: Part) -> Result<Option<TarPlan>> {
        let parts = self.part(part);
        match self.read(&parts.join(MANIFEST))? {
            Some(json) => Ok(Some(TarPlan::scan(&parts, Manifest::parse(&json)?)?)),
            None => Ok(None),
        }
    }

    /// Removes a part: its images, what lies beside them, and its plan. Missing is `Ok`.
    ///
    /// # Errors
    /// When something may be left over.
    pub fn drop_part(&self, part: Part) -> Result<()> {
        self.forget_plan(part)?;
        [IMAGES, BESIDE].into_iter().try_for_each(|kind| remove::tree(&self.path.join(kind).join(part.to_string())))
    }

    /// Writes a small file of the driver's own, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let path = self.path.join(path);
        let unfinished = path.with_extension("unfinished");
        let written = fs::write(&unfinished, content).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| failed("writing a file of a migration", &path, error))
    }

    /// Reads a small file of the driver's own, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(path);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading a file of a migration", &path, error)),
        }
    }

    /// Removes a small file of the driver's own. Missing is `Ok`.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, path: &Path) -> Result<()> {
        let path = self.path.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing a file of a migration", &path, error)),
            _ => Ok(()),
        }
    }

    /// Whether nothing is kept: no images, nothing that has arrived, no file of the driver's own.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_empty(&self) -> Result<bool> {
        let unreadable = |error| failed("reading a migration's directory", &self.path, error);
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let empty = entry.file_name() == LOCK || fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
            if !empty {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the directory with everything in it.
    ///
    /// # Errors
    /// When something may be left over.
    pub fn remove(self) -> Result<()> {
        remove::tree(&self.path)
    }

    fn part(&self, part: Part) -> PathBuf {
        self.path.join(PARTS).join(part.to_string())
    }

    fn forget_plan(&self, part: Part) -> Result<()> {
        remove::tree(&self.part(part))
    }
}

pub(super) fn make(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed("making a directory", path, error))
}

/// Everything but symbolic links: those to parents are made again at the target, and others do not travel.
fn link_files(from: &Path, to: &Path) -> Result<()> {
    make(to)?;
    let unreadable = |error| failed("reading images", from, error);
    for entry in fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (kind, target) = (entry.file_type().map_err(unreadable)?, to.join(entry.file_name()));
        if kind.is_dir() {
            link_files(&entry.path(), &target)?;
        } else if !kind.is_symlink() {
            fs::hard_link(entry.path(), &target).map_err(|error| failed("linking an image into its part", &target, error))?;
        }
    }
    Ok(())
}
