//! A layout that is a directory.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::section::Section;
use crate::error::{OciError, Result, Rule};
use crate::limits::Limits;
use crate::publish::MARKER;
use crate::stage::BLOBS;

/// An open directory. Nothing in it is reached over a symbolic link.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
    path: PathBuf,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR => OciError::refuse(Rule::Layout, path.display(), "it is no directory"),
            error => OciError::io("opening", path)(error),
        })?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// The file of this name, which is one of a layout's own.
    pub(crate) fn section(&self, name: &str) -> Result<Section> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match name.strip_prefix(BLOBS) {
            Some(blob) => openat(self.blobs()?, blob.trim_start_matches('/'), flags, Mode::empty()),
            None => openat(&self.root, name, flags, Mode::empty()),
        };
        let path = self.path.join(name);
        let file = File::from(file.map_err(|error| refusal(error, &path))?);
        let metadata = file.metadata().map_err(OciError::io("looking at", &path))?;
        if !metadata.is_file() {
            return Err(OciError::refuse(Rule::PlainFiles, path.display(), "it is no regular file"));
        }
        Ok(Section { bytes: metadata.len(), file: Arc::new(file), at: 0 })
    }

    pub(crate) fn blobs(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY;
        let open =
            |at: &OwnedFd, name: &str| openat(at, name, flags, Mode::empty()).map_err(|error| refusal(error, &self.path.join(BLOBS)));
        let (blobs, sha256) = BLOBS.split_once('/').unwrap_or((BLOBS, ""));
        open(&open(&self.root, blobs)?, sha256)
    }

    /// A whole document.
    pub(crate) fn small(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        small(self.section(name)?, name, most)
    }

    pub(crate) fn check_version(&self, limits: &Limits) -> Result<()> {
        check_version(&self.small(MARKER, limits.document_bytes)?)
    }
}

fn refusal(error: Errno, path: &Path) -> OciError {
    match error {
        Errno::LOOP | Errno::NOTDIR => OciError::refuse(Rule::PlainFiles, path.display(), "it is a link, or leads over one"),
        Errno::NOENT => OciError::refuse(Rule::Layout, path.display(), "it is missing"),
        error => OciError::io("opening", path)(error),
    }
}

/// A section that is fit for memory.
pub(crate) fn small(mut section: Section, name: &str, most: u64) -> Result<Vec<u8>> {
    if section.bytes > most {
        return Err(OciError::refuse(Rule::Limit, name, format!("it has {} bytes, and a document at most {most}", section.bytes)));
    }
    let mut content = Vec::new();
    section.read_to_end(&mut content).map_err(OciError::io("reading", Path::new(name)))?;
    Ok(content)
}

/// What `oci-layout` says.
pub(crate) fn check_version(text: &[u8]) -> Result<()> {
    let marker: oci_spec::image::OciLayout =
        serde_json::from_slice(text).map_err(|error| OciError::refuse(Rule::WellFormed, MARKER, error.to_string()))?;
    let version = marker.image_layout_version();
    if version.split('.').next() == Some("1") {
        return Ok(());
    }
    Err(OciError::refuse(Rule::Layout, MARKER, format!("its version is {version}, and 1 is what is read here")))
}
