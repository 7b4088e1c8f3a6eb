//! `descriptors.json`: in it runc and crun find, beside CRIU's images, what the standard streams were.

use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};

use super::source::failed;

pub(crate) const FILE: &str = "descriptors.json";

/// What it says, if it is among these images.
pub(crate) fn read(images: &Path) -> Option<Vec<String>> {
    serde_json::from_slice(&std::fs::read(images.join(FILE)).ok()?).ok()
}

pub(crate) fn write(images: &Path, descriptors: &[String]) -> Result<()> {
    let json = serde_json::to_vec(descriptors)
        .map_err(|error| Error::fatal(ErrorKind::Invalid, "the standard streams have odd names").caused_by(error))?;
    let file = images.join(FILE);
    std::fs::write(&file, json).map_err(failed("written", &file))
}
