//! Where a layout is, and what an image in it is called.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::OciError;

/// Longest tag, in bytes.
const TAG_BYTES: usize = 128;

/// The name of an image in a layout (`org.opencontainers.image.ref.name`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(String);

impl Tag {
    /// Checks and takes a tag.
    ///
    /// # Errors
    /// [`OciError::Name`] unless it has 1 to 128 of `A-Z a-z 0-9 . _ -` and starts with a letter, a digit or `_`; and for `latest`, which
    /// says nothing about which checkpoint is meant.
    pub fn new(tag: impl Into<String>) -> Result<Self, OciError> {
        let tag = tag.into();
        let well_formed = tag.len() <= TAG_BYTES
            && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !well_formed {
            let reason = "a tag has 1 to 128 of A-Z a-z 0-9 . _ - and starts with a letter, a digit or _";
            return Err(OciError::Name { name: tag, reason });
        }
        if tag == "latest" {
            return Err(OciError::Name {
                name: tag,
                reason: "it does not say which checkpoint is meant; use the migration's name, or none",
            });
        }
        Ok(Self(tag))
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `oci:DIR[:TAG]`, as the tools of containers write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutName {
    /// The layout.
    pub directory: PathBuf,
    /// The image in it; without one the image has no name but its digest.
    pub tag: Option<Tag>,
}

impl FromStr for LayoutName {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, OciError> {
        let wrong = |reason| OciError::Name { name: text.into(), reason };
        let rest = text.strip_prefix("oci:").ok_or_else(|| wrong("write oci:DIR or oci:DIR:TAG"))?;
        let (directory, tag) = rest.split_once(':').map_or((rest, None), |(directory, tag)| (directory, Some(tag)));
        if directory.is_empty() {
            return Err(wrong("the directory is missing: write oci:DIR or oci:DIR:TAG"));
        }
        if Path::new(directory).file_name().is_none() {
            return Err(wrong("it names no directory of its own: write oci:DIR or oci:DIR:TAG"));
        }
        Ok(Self { directory: directory.into(), tag: tag.map(Tag::new).transpose()? })
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.directory.display())?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_named_as_other_tools_do() {
        let name: LayoutName = "oci:/tmp/a:mig-1".parse().unwrap();
        assert_eq!((name.directory.as_path(), name.tag.as_ref().map(Tag::as_str)), (Path::new("/tmp/a"), Some("mig-1")));
        assert_eq!(name.to_string(), "oci:/tmp/a:mig-1");
        assert_eq!("oci:a".parse::<LayoutName>().unwrap(), LayoutName { directory: "a".into(), tag: None });
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in
            ["a", "oci:", "oci::tag", "docker://a:b", "oci:/", "oci:a/..", "oci:a:latest", "oci:a:", "oci:a:.b", "oci:a:b/c", "oci:a:b c"]
        {
            assert!(name.parse::<LayoutName>().is_err(), "{name}");
        }
        assert!(Tag::new("a".repeat(128)).is_ok() && Tag::new("a".repeat(129)).is_err());
    }
}
