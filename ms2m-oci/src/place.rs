//! How an archive becomes a blob without a byte being copied, where that can be.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, ioctl_ficlone, linkat};

use crate::error::{OciError, Result};

/// How the layer of an image came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placed {
    /// It shares the archive's blocks until one of them is written to.
    Reflink,
    /// It is the archive under another name: whoever writes to the archive spoils the image, which its digest tells.
    HardLink,
    /// It is a copy.
    Copy,
    /// It is compressed.
    Compressed,
}

impl Placed {
    /// As a word for people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reflink => "reflink",
            Self::HardLink => "hard-link",
            Self::Copy => "copy",
            Self::Compressed => "compressed",
        }
    }
}

/// Puts `archive` to `path`, which must be new. A file comes back when the bytes are still to be written.
pub(crate) fn place(archive: &File, path: &Path, copy: bool) -> Result<(Placed, Option<File>)> {
    if !copy {
        let clone = create(path)?;
        if ioctl_ficlone(&clone, archive).is_ok() {
            return Ok((Placed::Reflink, None));
        }
        std::fs::remove_file(path).map_err(OciError::io("removing", path))?;
        // By its descriptor: whatever has taken the archive's name meanwhile is not it.
        let open = format!("/proc/self/fd/{}", archive.as_raw_fd());
        if linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW).is_ok() {
            return Ok((Placed::HardLink, None));
        }
    }
    Ok((Placed::Copy, Some(create(path)?)))
}

/// A new file for its owner alone: it will hold all of a process's memory.
pub(crate) fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(OciError::io("making", path))
}
