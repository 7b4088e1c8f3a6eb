//! From an image back to an archive.

use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::checkpoint::Checkpoint;
use super::store::Store;
use crate::error::{OciError, Result, Rule};
use crate::image::LayerKind;
use crate::pass::{Archive, Progress};
use crate::place::{Placed, create, place};

impl Checkpoint<'_> {
    /// Writes the archive to `to`, which must be new. It appears when its digest has been checked; linked where the file system can,
    /// unless `copy` is asked for. `progress` hears how many of its bytes are done, and can stop.
    ///
    /// # Errors
    /// As packing; after an error nothing is there.
    pub fn extract(&self, to: &Path, copy: bool, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Placed> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let staged = tempfile::Builder::new().prefix(".").suffix(".ms2m-pack").tempdir_in(parent);
        let staged = staged.map_err(OciError::io("making a directory in", parent))?;
        let path = staged.path().join("archive");
        let placed = match self.store {
            Store::Directory(_) if self.layer().kind == LayerKind::Tar => self.link(&path, copy, progress)?,
            _ => self.stream(&path, progress)?,
        };
        renameat_with(CWD, &path, CWD, to, RenameFlags::NOREPLACE).map_err(|error| match error {
            Errno::EXIST => OciError::Exists { what: to.display().to_string(), reason: "give a name that is new".into() },
            error => OciError::io("making", to)(error),
        })?;
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(OciError::io("writing", parent))?;
        Ok(placed)
    }

    fn link(&self, path: &Path, copy: bool, progress: Progress<'_>) -> Result<Placed> {
        let file = self.section.file.try_clone().map_err(OciError::io("reading the layer for", path))?;
        let archive = Archive::of(file, path)?;
        let (placed, file) = place(&archive.file, path, copy)?;
        let found = archive.digest(file.as_ref(), progress)?;
        archive.unchanged()?;
        if found != self.layer().digest {
            return Err(OciError::refuse(Rule::DigestMatch, self.layer().digest, format!("the digest of the layer is {found}")));
        }
        if let Some(file) = file {
            file.sync_data().map_err(OciError::io("writing", path))?;
        }
        Ok(placed)
    }

    fn stream(&self, path: &Path, progress: Progress<'_>) -> Result<Placed> {
        let (mut reader, mut file) = (self.reader()?, create(path)?);
        let (mut piece, mut done) = (vec![0; 256 << 10], 0);
        loop {
            let read = reader.read(&mut piece).map_err(OciError::from_read)?;
            if read == 0 {
                break;
            }
            file.write_all(&piece[..read]).map_err(OciError::io("writing", path))?;
            done += read as u64;
            if progress(done).is_break() {
                return Err(OciError::Stopped);
            }
        }
        file.sync_data().map_err(OciError::io("writing", path))?;
        Ok(Placed::Copy)
    }
}
