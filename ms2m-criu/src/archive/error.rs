//! Why an archive was refused: always a rule and a member.

use std::fmt;
use std::io;

use ms2m_core::{Error, ErrorKind};

/// A result with [`ArchiveError`].
pub type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// What every archive has to keep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// It is a tar with ustar headers and correct checksums.
    WellFormed,
    /// It holds regular files and directories only.
    FilesAndDirectories,
    /// Names are relative, plain and lead nowhere else.
    PlainNames,
    /// Names have a limit in bytes and depth.
    NameLength,
    /// Every name comes once, and no file is also a directory.
    NoDuplicates,
    /// The number of members has a limit.
    MemberCount,
    /// One member's size has a limit.
    MemberSize,
    /// The sum of the sizes has a limit.
    TotalSize,
    /// No sparse members: they announce more than they hold.
    NoSparse,
    /// Nothing is missing at the end.
    Complete,
    /// Nothing but zeros comes behind the end.
    NothingBehind,
    /// Decompression has limits.
    CompressionRatio,
    /// Compressed data is intact and of a kind that is known.
    Compression,
    /// It was written by an engine that is known, and by the expected one.
    KnownEngine,
    /// An archive of ours has its manifest first, and holds what the format names.
    OwnFormat,
}

impl Rule {
    /// The rule as a name for logs, tests and people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WellFormed => "well-formed",
            Self::FilesAndDirectories => "files-and-directories-only",
            Self::PlainNames => "plain-names",
            Self::NameLength => "name-length",
            Self::NoDuplicates => "no-duplicates",
            Self::MemberCount => "member-count",
            Self::MemberSize => "member-size",
            Self::TotalSize => "total-size",
            Self::NoSparse => "no-sparse",
            Self::Complete => "complete",
            Self::NothingBehind => "nothing-behind",
            Self::CompressionRatio => "compression-ratio",
            Self::Compression => "compression",
            Self::KnownEngine => "known-engine",
            Self::OwnFormat => "own-format",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Complete => "copy or export it again",
            Self::CompressionRatio => "decompress it yourself if you trust it (podman: export with --compress=none)",
            Self::Compression => "copy it again, or export it without compression",
            Self::MemberCount | Self::MemberSize | Self::TotalSize => "raise the limit if you trust it",
            Self::KnownEngine => "give an archive of containerd, CRI-O, podman or ms2m",
            _ => "take the checkpoint again; do not use an archive of unknown origin",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an archive could not be read, extracted or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It breaks a rule.
    #[error("the archive is refused: {member}: {reason} (rule {rule}); {}", rule.remedy())]
    Refused {
        /// Which rule.
        rule: Rule,
        /// The member, or `the archive` when it is none in particular. Unprintable characters are escaped.
        member: String,
        /// What was found.
        reason: String,
    },
    /// A file of ours could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on which file.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A directory to be packed holds something that does not travel, or changed meanwhile.
    #[error("{path}: {reason}")]
    Pack {
        /// Where.
        path: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// What the sender of a stream said went wrong.
    #[error(transparent)]
    Sender(#[from] Error),
}

impl ArchiveError {
    pub(crate) fn refuse(rule: Rule, member: &str, reason: impl Into<String>) -> Self {
        let member = match member {
            "" => "the archive".into(),
            name => printable(name),
        };
        Self::Refused { rule, member, reason: reason.into() }
    }

    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }

    pub(crate) fn pack(path: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Pack { path: path.to_string(), reason: reason.into() }
    }

    /// The rule that was broken, if one was.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::Refused { rule, .. } => Some(*rule),
            _ => None,
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        let (kind, retry) = match &error {
            ArchiveError::Refused { rule: Rule::Complete, .. } => (ErrorKind::Corrupt, true),
            ArchiveError::Refused { rule: Rule::MemberCount | Rule::MemberSize | Rule::TotalSize | Rule::CompressionRatio, .. } => {
                (ErrorKind::LimitExceeded, false)
            }
            ArchiveError::Refused { rule: Rule::KnownEngine, .. } => (ErrorKind::Unsupported, false),
            ArchiveError::Refused { .. } => (ErrorKind::Corrupt, false),
            ArchiveError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => (ErrorKind::NotFound, false),
                io::ErrorKind::AlreadyExists => (ErrorKind::AlreadyExists, false),
                io::ErrorKind::PermissionDenied => (ErrorKind::Unauthorized, false),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::LimitExceeded, false),
                _ => (ErrorKind::Other, false),
            },
            ArchiveError::Pack { .. } => (ErrorKind::Invalid, false),
            ArchiveError::Sender(_) => (ErrorKind::Other, false),
        };
        match error {
            ArchiveError::Sender(error) => error,
            ArchiveError::Io { .. } if kind == ErrorKind::LimitExceeded => {
                Self::undo(kind, format!("there is no room for the checkpoint; make room or name another directory: {error}"))
            }
            error if retry => Self::retry(kind, error.to_string()),
            error => Self::undo(kind, error.to_string()),
        }
    }
}

/// At most 200 characters, none of which moves a cursor.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String =
        text.chars().take(200).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}
