//! The tag of a part.
//!
//! Part and the first 16 digits of the digest are in it: under another digest there is nothing, whatever has arrived can be found for
//! [`discard`](ms2m_core::TransferBackend::discard), and a listing of tags tells which of them share a layer.

use ms2m_core::{Digest, MigrationId, Part};

/// Longest start of a tag: the specification allows 128 bytes, and `.round-4294967295.` with 16 digits follow.
const MIGRATION_BYTES_MAX: usize = 128 - 34;
const DIGITS: usize = 16;

pub(crate) fn tag(migration: &MigrationId, part: Part, digest: Digest) -> String {
    format!("{}.{part}.{}", prefix(migration), digits(digest))
}

/// Which part of this migration a tag is for.
pub(crate) fn part_of(tag: &str, migration: &MigrationId) -> Option<Part> {
    let (part, digits) = tag.strip_prefix(&prefix(migration))?.strip_prefix('.')?.rsplit_once('.')?;
    let part = match part.strip_prefix("round-") {
        Some(round) => Part::Round(round.parse().ok()?),
        None => Some(Part::Final).filter(|_| part == "final")?,
    };
    (digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(part)
}

/// Whether a tag's layer may have this digest.
pub(crate) fn may_hold(tag: &str, digest: Digest) -> bool {
    tag.rsplit_once('.').is_some_and(|(_, found)| found == digits(digest))
}

fn digits(digest: Digest) -> String {
    hex(digest)[..DIGITS].to_owned()
}

fn hex(digest: Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}

/// A name that is too long is told apart by its digest.
fn prefix(migration: &MigrationId) -> String {
    let name = migration.as_str();
    if name.len() <= MIGRATION_BYTES_MAX {
        return name.to_owned();
    }
    format!("{}-{}", &name[..MIGRATION_BYTES_MAX - 33], &hex(Digest::of(name.as_bytes()))[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_its_part_and_no_other_migrations() {
        let digest = Digest::of(b"x");
        for name in ["a", "a.final", "A-1_b", &"x".repeat(94), &"x".repeat(95), &"x".repeat(128)] {
            let migration = MigrationId::new(name).unwrap();
            for part in [Part::Final, Part::Round(1), Part::Round(u32::MAX)] {
                let tag = tag(&migration, part, digest);
                assert!(tag.len() <= 128, "{tag}");
                assert_eq!(part_of(&tag, &migration), Some(part), "{tag}");
                assert!(may_hold(&tag, digest) && !may_hold(&tag, Digest::of(b"y")));
                for other in ["b", "a.final.0000000000000000", &"x".repeat(93), &format!("{}y", "x".repeat(127))] {
                    assert_eq!(part_of(&tag, &MigrationId::new(other).unwrap()), None, "{tag} is not of {other}");
                }
            }
        }
        let migration = MigrationId::new("a").unwrap();
        for foreign in
            ["a", "a.final", "a.final.short", "a.round-x.0123456789abcdef", "a.0123456789abcdef", "latest", "ab.final.0123456789abcdef"]
        {
            assert_eq!(part_of(foreign, &migration), None, "{foreign}");
        }
    }
}
