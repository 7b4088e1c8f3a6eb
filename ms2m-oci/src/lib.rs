//! Checkpoints as OCI images, and back. No network.
//!
//! A container engine's checkpoint archive **is** a plain tar, so it is the layer of the image as it stands: packing is one SHA-256 pass and
//! three small JSON documents, and the layout holds a reflink or hard link of the archive where the file system can.
//!
//! # Packing
//! [`pack`] writes an [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): a new one appears whole or
//! not at all, an existing one gets another tag. [`stream`] writes it into a pipe instead. [`Image`] is the same without a layout, for whoever
//! pushes to a registry.
//! ```
//! # use ms2m_core::Digest;
//! # use ms2m_oci::{Facts, Image, Layer, LayerKind};
//! let archive = b"the bytes of an archive";
//! let digest = Digest::of(archive);
//! let layer = Layer { kind: LayerKind::Tar, digest, bytes: archive.len() as u64, diff_id: digest };
//! let image = Image::new(layer, &Facts { container: "orders".into(), ..Facts::default() });
//! assert!(image.manifest.text().contains("org.criu.checkpoint.container.name"));
//! ```
//!
//! # Reading
//! [`Layout`] opens a layout, be it a directory or a tar of one, and [`Checkpoint`] is an image in it. Every document is checked against its
//! digest before it is looked at, and the layer while it streams. An image is refused, with the [`Rule`] that it breaks, when it is not one
//! plain layer of a checkpoint, when sizes or digests do not match, or when a name leads anywhere but to a regular file of the layout.
#![deny(missing_docs)]

mod compress;
mod document;
mod error;
mod facts;
mod hashing;
mod image;
mod index;
mod limits;
mod name;
mod pack;
mod pass;
mod place;
mod publish;
mod read;
mod stage;
mod stream;

pub use compress::Compression;
pub use document::Document;
pub use error::{OciError, Result, Rule};
pub use facts::Facts;
pub use hashing::Hashing;
pub use image::{Image, Layer, LayerKind};
pub use limits::Limits;
pub use name::{LayoutName, Tag};
pub use pack::{PackOptions, Packed, pack};
pub use place::Placed;
pub use read::{Checkpoint, LayerReader, Layout};
pub use stream::stream;
