//! [`Layout`]: which images there are.

use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex};

use super::checkpoint::Checkpoint;
use super::store::Store;
use crate::error::{OciError, Result, Rule};
use crate::index::{INDEX, REF_NAME, parse_index};
use crate::limits::Limits;

/// An OCI image layout: a directory, or a plain tar of one.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    limits: Limits,
    store: Store,
    index: ImageIndex,
}

impl Layout {
    /// Opens the layout at `path`.
    ///
    /// # Errors
    /// When it cannot be read or breaks a [`Rule`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let store = Store::open(path, limits)?;
        let index = parse_index(&store.small(INDEX, limits.document_bytes)?)?;
        if index.manifests().len() > limits.images {
            return Err(OciError::refuse(Rule::Limit, path.display(), format!("it holds more than {} images", limits.images)));
        }
        Ok(Self { path: path.to_owned(), limits: *limits, store, index })
    }

    /// The tags of its images, without those that have none.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.index.manifests().iter().filter_map(tag)
    }

    /// The checkpoint of this tag; without one, the only image of the layout.
    ///
    /// # Errors
    /// [`OciError::NoImage`] when there is none, or without a tag several; [`OciError::Refused`] when it is no image of a checkpoint.
    pub fn checkpoint(&self, wanted: Option<&str>) -> Result<Checkpoint<'_>> {
        let all = self.index.manifests();
        let found = match wanted {
            Some(wanted) => all.iter().find(|image| tag(image) == Some(wanted)),
            None if all.len() == 1 => all.first(),
            None => None,
        };
        let image = found.ok_or_else(|| {
            let mut present: Vec<_> = self.tags().take(10).collect();
            if present.is_empty() {
                present.push("none with a tag");
            }
            OciError::NoImage {
                layout: self.path.display().to_string(),
                wanted: wanted.map_or_else(|| "one alone".into(), |wanted| format!("with the tag {wanted:?}")),
                present: crate::error::printable(&present.join(", ")),
            }
        })?;
        Checkpoint::read(&self.store, image, &self.limits)
    }
}

fn tag(image: &Descriptor) -> Option<&str> {
    image.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}
