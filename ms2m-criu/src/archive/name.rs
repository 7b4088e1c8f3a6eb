//! Which names a member may have.

use std::collections::HashMap;

use super::error::{ArchiveError, Result, Rule, printable};
use super::limits::Limits;

/// The longest component that file systems take.
const COMPONENT_BYTES: usize = 255;

/// The name as a clean relative path without a trailing slash. The empty string is the archive's own root.
pub(super) fn clean(raw: &[u8], limits: &Limits) -> Result<String> {
    if raw.len() > limits.name_bytes {
        let shown = printable(&String::from_utf8_lossy(&raw[..raw.len().min(64)]));
        return Err(ArchiveError::refuse(Rule::NameLength, &shown, format!("its name has {} of {} bytes", raw.len(), limits.name_bytes)));
    }
    let name =
        str::from_utf8(raw).map_err(|_| ArchiveError::refuse(Rule::PlainNames, &String::from_utf8_lossy(raw), "its name is not UTF-8"))?;
    let refuse = |rule, reason: &str| Err(ArchiveError::refuse(rule, name, reason));
    if name.chars().any(char::is_control) {
        return refuse(Rule::PlainNames, "its name has control characters");
    }
    if name.starts_with('/') {
        return refuse(Rule::PlainNames, "its name is absolute");
    }
    if name.is_empty() {
        return refuse(Rule::PlainNames, "its name is empty");
    }
    if matches!(name, "." | "./") {
        return Ok(String::new());
    }
    // GNU tar names what it finds below `.` so.
    let plain = name.strip_prefix("./").unwrap_or(name);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    for component in plain.split('/') {
        match component {
            "" => return refuse(Rule::PlainNames, "its name has an empty part"),
            "." => return refuse(Rule::PlainNames, "its name has a part `.`"),
            ".." => return refuse(Rule::PlainNames, "its name leads elsewhere by `..`"),
            long if long.len() > COMPONENT_BYTES => return refuse(Rule::NameLength, "a part of its name has more than 255 bytes"),
            _ => {}
        }
    }
    if plain.split('/').count() > limits.depth {
        return refuse(Rule::NameLength, &format!("it is more than {} directories deep", limits.depth));
    }
    Ok(plain.to_owned())
}

/// The names that came so far. Bounded by the limits on members, name length and depth.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<Box<str>, State>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    File,
    Directory,
    /// A directory that only another member's name told of: its own entry may still come.
    Implied,
}

impl Seen {
    /// Takes note of a member.
    pub(super) fn insert(&mut self, name: &str, directory: bool) -> Result<()> {
        for (at, _) in name.match_indices('/') {
            let above = &name[..at];
            match self.0.get(above) {
                Some(State::File) => {
                    return Err(ArchiveError::refuse(Rule::NoDuplicates, name, format!("`{}` came as a file", printable(above))));
                }
                Some(_) => {}
                None => _ = self.0.insert(above.into(), State::Implied),
            }
        }
        let state = if directory { State::Directory } else { State::File };
        match self.0.insert(name.into(), state) {
            None => Ok(()),
            Some(State::Implied) if directory => Ok(()),
            Some(_) => Err(ArchiveError::refuse(Rule::NoDuplicates, name, "it comes twice")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(raw: &[u8]) -> Option<Rule> {
        clean(raw, &Limits::default()).err().and_then(|error| error.rule())
    }

    #[test]
    fn names_are_cleaned() {
        for (raw, clean_name) in [("a", "a"), ("./a/b", "a/b"), ("a/", "a"), ("./", ""), (".", ""), ("a..b/..c", "a..b/..c"), (".a", ".a")]
        {
            assert_eq!(clean(raw.as_bytes(), &Limits::default()).unwrap(), clean_name, "{raw}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for raw in ["/etc", "..", "../a", "a/../b", "a/..", "a//b", "a/./b", "././a", "", "a\nb", "a\0b", "//", ".//a"] {
            assert_eq!(rule(raw.as_bytes()), Some(Rule::PlainNames), "{raw:?}");
        }
        assert_eq!(rule(b"\xff\xfe"), Some(Rule::PlainNames));
        assert_eq!(rule(&[b'a'; 256]), Some(Rule::NameLength));
        assert_eq!(rule("a/".repeat(300).as_bytes()), Some(Rule::NameLength));
        assert_eq!(rule("a/".repeat(17).as_bytes()), Some(Rule::NameLength));
    }

    #[test]
    fn a_directory_may_follow_its_content_but_nothing_comes_twice() {
        let mut seen = Seen::default();
        seen.insert("a/b/c", false).unwrap();
        seen.insert("a", true).unwrap();
        seen.insert("a/b", true).unwrap();
        for (name, directory) in [("a", true), ("a/b/c", false), ("a/b", false), ("a/b/c/d", false)] {
            assert_eq!(seen.insert(name, directory).unwrap_err().rule(), Some(Rule::NoDuplicates), "{name}");
        }
    }
}
