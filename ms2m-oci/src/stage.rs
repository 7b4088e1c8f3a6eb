//! Where an image is put together before anybody sees it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::document::Document;
use crate::error::{OciError, Result};
use crate::image::Image;
use crate::place::create;
use crate::publish::Found;

const SUFFIX: &str = ".ms2m-pack";
/// Longer than it takes to lock a directory that was just made.
const YOUNG: Duration = Duration::from_secs(60);
/// Where blobs lie in a layout.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// A directory on the file system of the layout, removed unless it becomes the layout. Its lock says that its maker lives.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: TempDir,
    _lock: File,
}

impl Stage {
    /// Beside a layout that is to be made, or in one that is there: what is mounted there may be another file system.
    pub(crate) fn make(layout: &Path, found: Found) -> Result<Self> {
        let base = match found {
            Found::Nothing => match layout.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                Some(parent) => parent,
                None => Path::new("."),
            },
            Found::Empty | Found::Layout => layout,
        };
        let name = layout.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        remove_abandoned(base, &prefix);
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).permissions(private).tempdir_in(base);
        let directory = directory.map_err(OciError::io("making a directory in", base))?;
        let lock = File::open(directory.path()).map_err(OciError::io("opening", directory.path()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(OciError::io("locking", directory.path()))?;
        fs::create_dir_all(directory.path().join(BLOBS)).map_err(OciError::io("making directories in", directory.path()))?;
        Ok(Self { directory, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The layer before its digest is known.
    pub(crate) fn layer(&self) -> PathBuf {
        self.path().join("layer")
    }

    /// Gives every blob of the image its name.
    pub(crate) fn fill(&self, image: &Image) -> Result<()> {
        let blob = |digest: ms2m_core::Digest| self.path().join(blob(digest));
        let (layer, named) = (self.layer(), blob(image.layer.digest));
        fs::rename(&layer, named).map_err(OciError::io("renaming", &layer))?;
        for document in [&image.config, &image.manifest] {
            self.write(&blob(document.digest()), document.text())?;
        }
        Ok(())
    }

    /// Writes a file, so that it survives a crash.
    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<()> {
        let mut file = create(path)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(OciError::io("writing", path))
    }

    /// Its blobs, by their names in a layout.
    pub(crate) fn blobs(image: &Image) -> [String; 3] {
        let documents = [&image.config, &image.manifest].map(Document::digest);
        [blob(image.layer.digest), blob(documents[0]), blob(documents[1])]
    }

    /// Makes it the layout. An error gives it back: somebody else was quicker.
    pub(crate) fn become_layout(self, layout: &Path) -> std::result::Result<(), (Self, std::io::Error)> {
        match fs::rename(self.path(), layout) {
            Ok(()) => {
                // The name is no longer ours to remove.
                let _ = self.directory.keep();
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }
}

/// A blob's name in a layout.
pub(crate) fn blob(digest: ms2m_core::Digest) -> String {
    let digest = digest.to_string();
    format!("{BLOBS}/{}", digest.trim_start_matches("sha256:"))
}

/// What killed processes have left. Whatever cannot be removed is in nobody's way.
fn remove_abandoned(base: &Path, prefix: &str) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(SUFFIX));
        let age = entry.metadata().ok().filter(fs::Metadata::is_dir).and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        // A young one may not have been locked yet.
        if ours && age.is_some_and(|age| age > YOUNG) {
            let unlocked = File::open(entry.path()).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
            if unlocked {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}
