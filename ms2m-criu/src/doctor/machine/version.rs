//! Version numbers of kernels and programs.

use std::fmt;

/// Major and minor. Nothing that is decided here depends on more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// The first number with a dot in `text`.
    pub(super) fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
            Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(Version::find("6.18.44-fc-v595\n"), Some(Version(6, 18)));
        assert_eq!(Version::find("Version: 4.2.1\nGitID: v4.2.1"), Some(Version(4, 2)));
        assert_eq!(Version::find("runc version 1.3.6+ds1"), Some(Version(1, 3)));
        assert_eq!(Version::find("no number"), None);
        assert!(Version(4, 10) > Version(4, 9));
    }
}
