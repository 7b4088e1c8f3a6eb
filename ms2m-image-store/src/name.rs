//! What the image of a checkpoint is called.

use ms2m_core::{Digest, MigrationId};
use ms2m_oci::Tag;

/// Everything before the tag. `localhost` is no registry: nobody tries to pull it.
pub(crate) const REPOSITORY: &str = "localhost/ms2m/checkpoint";
/// Of 128 bytes of a tag, a dot and 64 digits are the digest's.
const MIGRATION_BYTES_MAX: usize = 128 - 65;

/// The name of a checkpoint in a store: `localhost/ms2m/checkpoint:MIGRATION.DIGITS`, where the 64 digits are the archive's SHA-256. A migration
/// whose name is too long for that stands there shortened.
#[must_use]
pub fn image_name(migration: &MigrationId, archive: Digest) -> String {
    format!("{REPOSITORY}:{}", text(migration, archive))
}

pub(crate) fn tag(migration: &MigrationId, archive: Digest) -> ms2m_oci::Result<Tag> {
    Tag::new(text(migration, archive))
}

/// The digest tells apart what is the same when it is shortened.
fn text(migration: &MigrationId, archive: Digest) -> String {
    let name = migration.as_str();
    let shown = &name[..name.len().min(MIGRATION_BYTES_MAX)];
    format!("{shown}.{}", archive.to_string().trim_start_matches("sha256:"))
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
            assert!(tag.as_str().ends_with(archive.to_string().trim_start_matches("sha256:")), "{tag}");
        }
    }
}
