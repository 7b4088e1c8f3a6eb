//! What lies where.
//!
//! ```text
//! DIRECTORY/.lock                              held while an agent uses the directory; says in which boot of the machine that was
//! DIRECTORY/.upload-0.part                     of an upload that has not said yet whose it is
//! DIRECTORY/MIGRATION/.final.part              on its way
//! DIRECTORY/MIGRATION/final.blake3-…           arrived; final.sha256-… as a form
//! ```

use std::path::Path;

use ms2m_core::{Digest, MigrationId, Part};

use crate::wire::parse_part;

pub(super) const LOCK: &str = ".lock";
/// Begins the name of an upload without a name.
pub(super) const UNNAMED: &str = ".upload-";
const ON_ITS_WAY: &str = ".part";

pub(super) fn incomplete(part: Part) -> String {
    format!(".{part}{ON_ITS_WAY}")
}

/// Without a colon, which some file systems do not take.
pub(super) fn arrived(part: Part, digest: Digest) -> String {
    format!("{part}.{}", digest.to_string().replace(':', "-"))
}

/// What a file in a migration's directory is; `None` when it is none of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Incomplete(Part),
    Arrived(Part, Digest),
}

pub(super) fn parse(name: &str) -> Option<Entry> {
    if let Some(part) = name.strip_prefix('.') {
        return parse_part(part.strip_suffix(ON_ITS_WAY)?).map(Entry::Incomplete);
    }
    let (part, digest) = name.split_once('.')?;
    Some(Entry::Arrived(parse_part(part)?, digest.replacen('-', ":", 1).parse().ok()?))
}

/// The migration whose directory this is.
pub(super) fn migration(directory: &Path) -> Option<MigrationId> {
    MigrationId::new(directory.file_name()?.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let digest = Digest::of(b"x");
        for part in [Part::Final, Part::Round(3)] {
            assert_eq!(parse(&incomplete(part)), Some(Entry::Incomplete(part)));
            assert_eq!(parse(&arrived(part, digest)), Some(Entry::Arrived(part, digest)));
        }
        for name in ["", ".", "..", ".part", ".lock", "final", "final.sha256-12", ".final.part2", "passwd"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
