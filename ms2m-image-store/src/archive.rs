//! [`Archive`]: a checkpoint archive that is to become an image.

use std::path::{Path, PathBuf};

use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind, MigrationId, Result};
use ms2m_oci::{Facts, Hashing, Image, Layer, LayerKind, Tag};

use crate::facts;
use crate::name::{COPIES, REPOSITORY, copy_image_name, image_name, tag};

/// A checkpoint archive on this node, checked, with what an image of it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    pub(crate) path: PathBuf,
    pub(crate) facts: Facts,
    pub(crate) image: Image,
    pub(crate) repository: &'static str,
    pub(crate) tag: Tag,
    name: String,
}

impl Archive {
    /// Looks into the archive at `path`, whose digest and size are known, as its migration's. `None` unless a container engine has written it,
    /// whose runtime can restore a container from its image: other archives of ours are restored by ms2m itself. Reads all but its pages, and
    /// these as well when the layer's SHA-256 is not known yet. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, breaks a rule of archives, or is compressed.
    pub fn open(path: &Path, migration: &MigrationId, digest: Digest, bytes: u64) -> Result<Option<Self>> {
        let facts = Facts { migration: Some(migration.to_string()), ..facts::facts(path)? };
        if facts.engine.as_deref().is_none_or(|engine| engine == "ms2m") {
            return Ok(None);
        }
        let of_layer = match digest.algorithm() {
            DigestAlgorithm::Sha256 => digest,
            _ => sha256(path)?,
        };
        let layer = Layer { kind: LayerKind::Tar, digest: of_layer, bytes, diff_id: of_layer };
        let image = Image::new(layer, &facts);
        let (repository, name) = (REPOSITORY, image_name(migration, digest));
        Ok(Some(Self { path: path.to_owned(), image, repository, tag: tag(migration, digest)?, name, facts }))
    }

    /// The archive at `path`, written here, from which this migration's copy is restored.
    pub(crate) fn of_copy(path: &Path, migration: &MigrationId, facts: Facts, (digest, bytes): (Digest, u64)) -> Result<Self> {
        let facts = Facts { migration: Some(migration.to_string()), ..facts };
        let image = Image::new(Layer { kind: LayerKind::Tar, digest, bytes, diff_id: digest }, &facts);
        let (repository, name) = (COPIES, copy_image_name(migration));
        Ok(Self { path: path.to_owned(), image, repository, tag: Tag::new(migration.as_str())?, name, facts })
    }

    /// The name of its image.
    #[must_use]
    pub fn image_name(&self) -> &str {
        &self.name
    }
}

/// As a layer is known.
fn sha256(path: &Path) -> Result<Digest> {
    let read = || {
        let mut hashing = Hashing::new(std::io::sink());
        std::io::copy(&mut std::fs::File::open(path)?, &mut hashing)?;
        Ok::<_, std::io::Error>(hashing.finish().0)
    };
    read().map_err(|error| Error::undo(ErrorKind::Unavailable, "the archive cannot be read").caused_by(error).with("path", path.display()))
}

/// For `map_err`.
pub(crate) fn died(error: tokio::task::JoinError) -> Error {
    Error::undo(ErrorKind::Other, "a thread has died").caused_by(error)
}
