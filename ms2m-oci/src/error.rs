//! What can be wrong with a layout, and with packing.

use std::fmt;
use std::io;
use std::path::Path;

use ms2m_core::{Error, ErrorKind};

/// A result with [`OciError`].
pub type Result<T, E = OciError> = std::result::Result<T, E>;

/// A rule that every layout, and every archive to be packed, has to keep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// It is an OCI image layout of version 1.
    Layout,
    /// It is a directory or a plain tar, with regular files in it and no links.
    PlainFiles,
    /// Documents are JSON of the kind that is announced.
    WellFormed,
    /// Documents, layers and their number have limits.
    Limit,
    /// Media types are those of OCI: one manifest, one configuration, and a layer that is a tar, plain or compressed.
    MediaType,
    /// An image of a checkpoint has one layer.
    OneLayer,
    /// An image of a checkpoint says so in its annotations.
    Checkpoint,
    /// Digests are `sha256:` and 64 lower-case hexadecimal digits.
    DigestForm,
    /// Content has the size that its descriptor announces.
    Size,
    /// Content has the digest that its descriptor announces, and the layer's plain bytes the one that the configuration announces.
    DigestMatch,
    /// An archive to be packed is a plain tar.
    PlainTar,
}

impl Rule {
    /// The rule as a name for logs, tests and people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::PlainFiles => "plain-files",
            Self::WellFormed => "well-formed",
            Self::Limit => "limit",
            Self::MediaType => "media-type",
            Self::OneLayer => "one-layer",
            Self::Checkpoint => "checkpoint",
            Self::DigestForm => "digest-form",
            Self::Size => "size",
            Self::DigestMatch => "digest-match",
            Self::PlainTar => "plain-tar",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Layout => "give a directory (or a tar of one) with oci-layout and index.json, as `ms2m pack` writes it",
            Self::Limit => "raise the limit if you trust it",
            Self::MediaType => "convert it to OCI, for example with `skopeo copy --format oci`",
            Self::OneLayer | Self::Checkpoint => "give the image of a checkpoint, as `ms2m pack` writes it",
            Self::PlainTar => "decompress it first, for example with `zstd -d` or `gunzip`",
            Self::Size | Self::DigestMatch => "copy or pack it again",
            Self::PlainFiles | Self::WellFormed | Self::DigestForm => "pack the checkpoint again; do not use a layout of unknown origin",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something could not be packed or read.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// It breaks a rule.
    #[error("{what} is refused: {reason} (rule {rule}); {}", rule.remedy())]
    Refused {
        /// Which rule.
        rule: Rule,
        /// The file, document or image. Unprintable characters are escaped.
        what: String,
        /// What was found.
        reason: String,
    },
    /// There is no image of this name.
    #[error("{layout} holds no such image: {wanted}; it has {present}")]
    NoImage {
        /// The layout.
        layout: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        present: String,
    },
    /// Something stands where a layout, a tag or a file should be written.
    #[error("{what} exists already: {reason}")]
    Exists {
        /// What exists.
        what: String,
        /// How it differs, and what to do.
        reason: String,
    },
    /// A name cannot be one.
    #[error("{name:?} is refused: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong, and what to write instead.
        reason: &'static str,
    },
    /// The archive was written to while it was packed.
    #[error("{path} has changed while it was packed; pack it again when nothing writes to it")]
    Changed {
        /// The archive.
        path: String,
    },
    /// Another process holds the layout.
    #[error("{path} is being written by another process, for longer than {waited_s} seconds; try again")]
    Locked {
        /// The layout.
        path: String,
        /// How long was waited, in seconds.
        waited_s: u64,
    },
    /// The caller wants no more.
    #[error("stopped on request; nothing was written")]
    Stopped,
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on which file.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl OciError {
    pub(crate) fn refuse(rule: Rule, what: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Refused { rule, what: printable(&what.to_string()), reason: printable(&reason.into()) }
    }

    /// For `map_err`: `reading PATH: …`.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self + use<E> {
        let what = format!("{doing} {}", path.display());
        move |source| Self::Io { what, source: source.into() }
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

impl From<OciError> for Error {
    fn from(error: OciError) -> Self {
        let kind = match &error {
            OciError::Refused { rule: Rule::Layout | Rule::MediaType | Rule::OneLayer | Rule::Checkpoint | Rule::PlainTar, .. } => {
                ErrorKind::Unsupported
            }
            OciError::Refused { rule: Rule::Limit, .. } => ErrorKind::LimitExceeded,
            OciError::Refused { .. } => ErrorKind::Corrupt,
            OciError::NoImage { .. } => ErrorKind::NotFound,
            OciError::Exists { .. } => ErrorKind::AlreadyExists,
            OciError::Name { .. } => ErrorKind::Invalid,
            OciError::Changed { .. } => return Self::retry(ErrorKind::Corrupt, error.to_string()),
            OciError::Locked { .. } => return Self::retry(ErrorKind::Timeout, error.to_string()),
            OciError::Stopped => ErrorKind::Cancelled,
            OciError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                io::ErrorKind::PermissionDenied => ErrorKind::Unauthorized,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    let message = format!("there is no room for the image; make room or name another directory: {error}");
                    return Self::undo(ErrorKind::LimitExceeded, message);
                }
                _ => ErrorKind::Other,
            },
        };
        Self::undo(kind, error.to_string())
    }
}

/// At most 300 characters, none of which moves a cursor.
pub(crate) fn printable(text: &str) -> String {
    let shown = text.chars().take(300).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
    let mut shown: String = shown.collect();
    if text.chars().nth(300).is_some() {
        shown.push('…');
    }
    shown
}
