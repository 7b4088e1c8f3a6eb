//! [`Sealed`]: any transfer, encrypted for the target alone.
//!
//! A checkpoint is all of a process's memory. Wrapped in a `Sealed`, a backend (a registry, a shared directory) sees nothing of it but its
//! size: every part is encrypted under a key of its own, which only the target's [`Key`] can unwrap.
//!
//! ```
//! # use std::sync::Arc;
//! # use ms2m_testkit::MemoryTransfer;
//! # use ms2m_transfer_sealed::{Key, Sealed};
//! # let shared = Arc::new(MemoryTransfer::default());
//! let key = Key::generate();                                                  // at the target, kept in a file of its own
//! let source = Sealed::for_target(shared.clone(), key.recipient());           // can send, and cannot read what it has sent
//! let target = Sealed::with_key(shared, key);
//! ```
//!
//! # Format
//! What the backend gets is a file of [age](https://age-encryption.org/v1): a header that holds the part's key, wrapped by X25519, and
//! ChaCha20-Poly1305 over chunks of 64 KiB with the STREAM construction, in which a chunk that is missing, moved or added does not
//! decrypt, the last one least of all. Its length is known beforehand: the header and 16 bytes for each chunk come on top.
//!
//! Whoever knows the target's public key could make such a file. So the receipt names the header by its digest: without the part's key
//! nobody can make a second stream under that header, and every chunk is known to be the sender's before it is handed out, at any offset.
#![deny(missing_docs)]

mod backend;
mod keys;
mod location;
mod receive;
mod send;

pub use backend::Sealed;
pub use keys::{Key, Recipient};

/// What a sealed part is, for whoever looks into a registry: its media type.
pub const MEDIA_TYPE: &str = "application/vnd.ms2m.checkpoint.v1.tar+age";
