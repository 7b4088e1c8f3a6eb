//! The new directory into which an archive is extracted.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::{ArchiveError, Result};

/// A directory of our own, mode 0700, that is removed with all its content unless it is kept.
///
/// Everything below it is made relative to an open directory, with `O_NOFOLLOW` and `O_EXCL`: nothing is followed, nothing is replaced.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    root: OwnedFd,
    /// The directory of the last file: the next one usually lies beside it.
    last: Option<(String, OwnedFd)>,
    keep: bool,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Target {
    /// Makes the directory. It must not exist; the one above it must.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let what = |error| ArchiveError::io(format!("making the new directory {}", path.display()), error);
        rustix::fs::mkdir(path, Mode::RWXU).map_err(what)?;
        let opened = rustix::fs::open(path, DIRECTORY, Mode::empty()).and_then(|root| {
            // The umask may have taken bits away.
            rustix::fs::fchmod(&root, Mode::RWXU)?;
            Ok(root)
        });
        match opened {
            Ok(root) => Ok(Self { path: path.into(), root, last: None, keep: false }),
            Err(error) => {
                let _ = rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::REMOVEDIR);
                Err(what(error))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn keep(mut self) {
        self.keep = true;
    }

    /// Makes a directory and those above it.
    pub(super) fn directory(&mut self, name: &str) -> Result<()> {
        self.descend(name).map(drop)
    }

    /// Makes a new file, and the directories above it.
    pub(super) fn file(&mut self, name: &str) -> Result<File> {
        let (above, base) = name.rsplit_once('/').unwrap_or(("", name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.descend(above)?;
        rustix::fs::openat(directory, base, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| ArchiveError::io(format!("making the file {name}"), error))
    }

    /// Makes a symbolic link, where the directory above it is.
    pub(super) fn link(&mut self, name: &str, to: &str) -> Result<()> {
        let (above, base) = name.rsplit_once('/').unwrap_or(("", name));
        let directory = self.descend(above)?;
        rustix::fs::symlinkat(to, directory, base).map_err(|error| ArchiveError::io(format!("making the link {name}"), error))
    }

    fn descend(&mut self, name: &str) -> Result<&OwnedFd> {
        if name.is_empty() {
            return Ok(&self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != name) {
            let mut at: Option<OwnedFd> = None;
            for part in name.split('/') {
                let above = at.as_ref().unwrap_or(&self.root);
                let next = match rustix::fs::mkdirat(above, part, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(above, part, DIRECTORY, Mode::empty()),
                    Err(error) => Err(error),
                };
                at = Some(next.map_err(|error| ArchiveError::io(format!("making the directory {name}"), error))?);
            }
            self.last = at.map(|directory| (name.to_owned(), directory));
        }
        Ok(self.last.as_ref().map_or(&self.root, |(_, directory)| directory))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "what was extracted could not be removed: remove it by hand");
        }
    }
}
