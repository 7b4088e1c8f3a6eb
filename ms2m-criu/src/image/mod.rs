//! CRIU's image files, as far as they are looked into.
//!
//! An image begins with magic numbers, followed by entries: a length in four bytes (little endian) and a protocol buffer. Field numbers are
//! CRIU's; the messages here declare only what is needed, everything else is left out when decoding. Images come from a stranger: every
//! length has a limit, malformed data is an error, and nothing panics.
//!
//! ```
//! # use std::collections::BTreeMap;
//! # use ms2m_criu::image::Images;
//! let mut files = BTreeMap::new();
//! // Magic, length, `img_version: 2`.
//! files.insert("inventory.img".to_owned(), vec![0x16, 0x31, 0x31, 0x58, 2, 0, 0, 0, 0x08, 2]);
//! assert_eq!(Images::decode(&files).unwrap().inventory.unwrap().version, 2);
//! ```

pub(crate) mod closing;
mod cpu;
mod decode;
pub(crate) mod difference;
mod files;
mod frame;
mod messages;
mod model;
mod pagemap;
mod sockets;
pub(crate) mod stream;

pub use cpu::{CpuInfo, feature_names, xstate_names};
pub use decode::{is_wanted, read_directory};
pub use files::{FileKind, GhostFile, OpenFile, Tty};
pub use frame::{Entries, Magic};
pub use model::{Descriptor, DumpStats, Images, Inventory, Machine, Mount, Process, RestoreStats, TaskState, Thread, VmaSummary};
pub use pagemap::PagemapTotals;
pub use sockets::{InetSocket, TcpState, Transport, UnixSocket};

/// The image that says of which format all others are.
pub(crate) const INVENTORY: &str = "inventory.img";
/// The only format of images that CRIU has written since 1.6, as the inventory tells it.
pub(crate) const FORMAT: u32 = 2;

/// How much an image may ask of us.
pub mod limits {
    /// Bytes of one image that is held in memory. Images of memory pages never are.
    pub const IMAGE_BYTES: u64 = 64 << 20;
    /// Bytes of all images that are held in memory.
    pub const TOTAL_BYTES: u64 = 256 << 20;
    /// Bytes of one entry.
    pub const ENTRY_BYTES: usize = 32 << 20;
    /// Fields in one entry. A process has a mapping per field at most: twice as many as any kernel allows by default.
    pub const FIELDS: usize = 1 << 20;
    /// Entries in one image, page maps excepted.
    pub const ENTRIES: usize = 1 << 18;
    /// Processes in one checkpoint.
    pub const PROCESSES: usize = 65_536;
    /// Characters of a name that are kept.
    pub const NAME_CHARS: usize = 4_096;
}

/// Why an image could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Its bytes are not what they should be.
    #[error("the image {image} is malformed: {reason}; take the checkpoint again")]
    Malformed {
        /// Which image.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// It exceeds one of the [`limits`].
    #[error("the image {image} is beyond the limits: {reason}")]
    TooLarge {
        /// Which image.
        image: String,
        /// Which limit.
        reason: String,
    },
    /// It could not be read.
    #[error("reading {image}: {source}")]
    Io {
        /// Which file.
        image: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl ImageError {
    pub(crate) fn malformed(image: &str, reason: impl Into<String>) -> Self {
        Self::Malformed { image: crate::archive::printable(image), reason: reason.into() }
    }

    pub(crate) fn too_large(image: &str, reason: impl Into<String>) -> Self {
        Self::TooLarge { image: crate::archive::printable(image), reason: reason.into() }
    }

    pub(crate) fn io(image: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self::Io { image: image.to_string(), source }
    }
}

impl From<ImageError> for ms2m_core::Error {
    fn from(error: ImageError) -> Self {
        use ms2m_core::ErrorKind;
        let kind = match &error {
            ImageError::Malformed { .. } => ErrorKind::Corrupt,
            ImageError::TooLarge { .. } => ErrorKind::LimitExceeded,
            ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            ImageError::Io { .. } => ErrorKind::Other,
        };
        Self::undo(kind, error.to_string())
    }
}

/// A result with [`ImageError`].
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// Bytes as CRIU writes them for names: shown as they are, without what moves a cursor, and not without end.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(limits::NAME_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
