//! What the image of a checkpoint is called.

use ms2m_core::{Digest, MigrationId};
use ms2m_oci::Tag;

/// Everything before the tag. `localhost` is no registry: nobody tries to pull it.
pub(crate) const REPOSITORY: &str = "localhost/ms2m/checkpoint";
/// The same of images from which copies are restored.
pub(crate) const COPIES: &str = "localhost/ms2m/copy";
/// The same of images that are just being loaded: a container runtime sees a name before it can make a container of the image, and kubelet asks for a copy's
/// image whenever it likes.
pub(crate) const ARRIVALS: &str = "localhost/ms2m/arrival";
/// The same of the application's own images, kept for copies.
pub(crate) const APPLICATIONS: &str = "localhost/ms2m/application";
/// Of 128 bytes of a tag, a dot and 64 digits are the digest's.
const MIGRATION_BYTES_MAX: usize = 128 - 65;

/// The name of a checkpoint in a store: `localhost/ms2m/checkpoint:MIGRATION.DIGITS`, where the 64 digits are those of the archive's digest. A migration
/// whose name is too long for that stands there shortened.
#[must_use]
pub fn image_name(migration: &MigrationId, archive: Digest) -> String {
    format!("{REPOSITORY}:{}", text(migration, archive))
}

/// The name that the pod of a migration's copy has for its image. First that is its checkpoint, for as long as it takes to restore it once; after the
/// hand-over it is the application's own image.
#[must_use]
pub fn copy_image_name(migration: &MigrationId) -> String {
    format!("{COPIES}:{migration}")
}

/// The name that a copy's image has until containers can be made of it.
pub(crate) fn arrival_image_name(migration: impl std::fmt::Display) -> String {
    format!("{ARRIVALS}:{migration}")
}

/// The name under which the application's own image is kept for a migration's copy.
pub(crate) fn application_image_name(migration: &MigrationId) -> String {
    format!("{APPLICATIONS}:{migration}")
}

pub(crate) fn tag(migration: &MigrationId, archive: Digest) -> ms2m_oci::Result<Tag> {
    Tag::new(text(migration, archive))
}

/// The digest tells apart what is the same when it is shortened.
fn text(migration: &MigrationId, archive: Digest) -> String {
    let name = migration.as_str();
    let shown = &name[..name.len().min(MIGRATION_BYTES_MAX)];
    format!("{shown}.{}", digits(archive))
}

fn digits(archive: Digest) -> String {
    archive.to_string().rsplit(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_has_a_name_in_the_store() {
        let archive = Digest::of(b"x");
        let longest = "m".repeat(128);
        for name in ["a", "latest", "A.b-c_d", longest.as_str()] {
            let migration = MigrationId::new(name).unwrap();
            let tag = tag(&migration, archive).unwrap();
            assert_eq!(image_name(&migration, archive), format!("localhost/ms2m/checkpoint:{tag}"));
            assert!(tag.as_str().ends_with(&digits(archive)), "{tag}");
        }
    }
}
