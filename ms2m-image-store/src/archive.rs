//! [`Archive`]: a checkpoint archive that is to become an image.

use std::path::{Path, PathBuf};

use ms2m_core::{Digest, Error, ErrorKind, MigrationId, Result};
use ms2m_oci::{Facts, Image, Layer, LayerKind, Tag};

use crate::facts;
use crate::name::{image_name, tag};

/// A checkpoint archive on this node, checked, with what an image of it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    pub(crate) path: PathBuf,
    pub(crate) facts: Facts,
    pub(crate) image: Image,
    pub(crate) tag: Tag,
    name: String,
}

impl Archive {
    /// Looks into the archive at `path`, whose digest and size are known, as its migration's. Reads all but its pages. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, breaks a rule of archives, or is compressed.
    pub fn open(path: &Path, migration: &MigrationId, digest: Digest, bytes: u64) -> Result<Self> {
        let facts = Facts { migration: Some(migration.to_string()), ..facts::facts(path)? };
        let layer = Layer { kind: LayerKind::Tar, digest, bytes, diff_id: digest };
        let image = Image::new(layer, &facts);
        Ok(Self { path: path.to_owned(), image, tag: tag(migration, digest)?, name: image_name(migration, digest), facts })
    }

    /// Whether a container engine has written it, whose runtime can restore a container from its image. Other archives of ours are restored by
    /// ms2m itself.
    #[must_use]
    pub fn is_of_an_engine(&self) -> bool {
        self.facts.engine.as_deref().is_some_and(|engine| engine != "ms2m")
    }

    /// The name of its image.
    #[must_use]
    pub fn image_name(&self) -> &str {
        &self.name
    }
}

/// For `map_err`.
pub(crate) fn died(error: tokio::task::JoinError) -> Error {
    Error::undo(ErrorKind::Other, "a thread has died").caused_by(error)
}
