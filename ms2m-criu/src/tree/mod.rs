//! Directory trees as tar files: a container's writable layer and the content of its tmpfs mounts.
//!
//! Inside of a checkpoint, and only there: unlike an [archive](crate::archive) a tree may hold symbolic links, hard links and
//! named pipes, because a container's files do. Deleted files are whiteouts as in OCI image layers
//! (<https://github.com/opencontainers/image-spec/blob/main/layer.md>).

mod pack;
mod unpack;

pub use self::pack::{Packed, Which, pack};
pub use self::unpack::unpack;

/// Prefix of a member that says: this name was deleted.
const WHITEOUT: &str = ".wh.";
/// The member that says: of this directory, nothing of the layers below is left.
const OPAQUE: &str = ".wh..wh..opq";
/// How a tar file names extended attributes.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// What a tree may hold at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeLimits {
    /// Bytes in all files. Packing goes on while the container is frozen, so this bounds the freeze.
    pub bytes_max: u64,
    /// Files, directories and links.
    pub entries_max: u64,
}

impl Default for TreeLimits {
    /// 1 GiB in 200 000 entries.
    fn default() -> Self {
        Self { bytes_max: 1 << 30, entries_max: 200_000 }
    }
}

/// Why a tree was not packed or unpacked.
#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum TreeError {
    /// More than the limit.
    #[error("{what} is larger than the limit of {limit}: {path}")]
    TooLarge {
        /// Bytes or entries.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// Where it was reached.
        path: String,
    },
    /// A device node that only the container itself could have made.
    #[error("{0} is a device node; devices do not travel: list it under linux.devices of the container's configuration")]
    Device(String),
    /// A name that leads out of the tree.
    #[error("the member {0} leads out of its tree")]
    Outside(String),
    /// A member of a kind that is not written here.
    #[error("the member {0} is neither file, directory, link nor named pipe")]
    Kind(String),
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl TreeError {
    fn io(path: impl AsRef<std::path::Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().display().to_string(), source }
    }
}

impl From<TreeError> for ms2m_core::Error {
    fn from(error: TreeError) -> Self {
        use ms2m_core::ErrorKind;
        let (kind, message) = match &error {
            TreeError::TooLarge { .. } => (ErrorKind::LimitExceeded, "the container has written too much to move it while frozen"),
            TreeError::Device(_) => (ErrorKind::Unsupported, "the container's files cannot be moved"),
            TreeError::Outside(_) | TreeError::Kind(_) => (ErrorKind::Corrupt, "the container's files were refused"),
            TreeError::Io { .. } => (ErrorKind::Other, "the container's files could not be copied"),
        };
        Self::undo(kind, message).caused_by(error)
    }
}

#[cfg(test)]
mod tests;
