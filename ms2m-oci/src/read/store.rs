//! Where a layout's files are.

use std::fs::File;
use std::path::Path;

use ms2m_core::Digest;
use oci_spec::image::Descriptor;
use rustix::fs::{Mode, OFlags};

use super::directory::{Directory, check_version, small};
use super::section::Section;
use super::tarball::Tarball;
use crate::error::{OciError, Result, Rule};
use crate::limits::Limits;
use crate::publish::MARKER;
use crate::stage::blob;

/// A directory or a tar.
#[derive(Debug)]
pub(crate) enum Store {
    Directory(Directory),
    Tarball(Tarball),
}

impl Store {
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(OciError::io("opening", path))?);
        let kind = file.metadata().map_err(OciError::io("looking at", path))?.file_type();
        let store = if kind.is_dir() {
            Self::Directory(Directory::open(path)?)
        } else if kind.is_file() {
            Self::Tarball(Tarball::open(path, file, limits)?)
        } else {
            return Err(OciError::refuse(Rule::Layout, path.display(), "it is neither a directory nor a file"));
        };
        check_version(&store.small(MARKER, limits.document_bytes)?)?;
        Ok(store)
    }

    pub(crate) fn section(&self, name: &str) -> Result<Section> {
        match self {
            Self::Directory(directory) => directory.section(name),
            Self::Tarball(tarball) => tarball.section(name),
        }
    }

    pub(crate) fn small(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        small(self.section(name)?, name, most)
    }

    /// The blob of a descriptor, which has the size that was announced.
    pub(crate) fn blob(&self, descriptor: &Descriptor, most: u64) -> Result<(Digest, Section)> {
        let digest = digest(descriptor.digest().as_ref())?;
        let section = self.section(&blob(digest))?;
        if section.bytes != descriptor.size() {
            let reason = format!("it has {} bytes, and {} were announced", section.bytes, descriptor.size());
            return Err(OciError::refuse(Rule::Size, digest, reason));
        }
        if section.bytes > most {
            return Err(OciError::refuse(Rule::Limit, digest, format!("it has {} bytes, and {most} are the limit", section.bytes)));
        }
        Ok((digest, section))
    }

    /// A document, checked.
    pub(crate) fn document(&self, descriptor: &Descriptor, limits: &Limits) -> Result<Vec<u8>> {
        let (digest, section) = self.blob(descriptor, limits.document_bytes)?;
        let content = small(section, &digest.to_string(), limits.document_bytes)?;
        match Digest::of(&content) {
            found if found == digest => Ok(content),
            found => Err(OciError::refuse(Rule::DigestMatch, digest, format!("its digest is {found}"))),
        }
    }
}

/// A digest in its only form: another spelling of the same value is refused.
pub(crate) fn digest(text: &str) -> Result<Digest> {
    let refused = || OciError::refuse(Rule::DigestForm, text, "it is not sha256: and 64 lower-case hexadecimal digits");
    text.parse::<Digest>().ok().filter(|digest| digest.to_string() == text).ok_or_else(refused)
}
