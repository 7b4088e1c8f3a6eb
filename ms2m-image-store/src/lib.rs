//! Checkpoint archives as images in the store of a node's container runtime, for a pod that is to be restored from such an image.
//!
//! An [`ImageStore`] takes an [`Archive`] that lies on this node, and gives it up again. [`Containerd`] streams it into `ctr images import`,
//! so that nothing is packed on a disk; [`CriO`] has `skopeo` copy it from a layout that is a link to the archive.
//!
//! [`ImageTarget`] makes the copy of a migration from such an image, in a pod whose kubelet and container runtime know nothing of ms2m; [`KubeletSource`] takes the
//! checkpoint by the same means. Both ask the runtime by [`cri`].
//!
//! The image is named after its migration and the archive's digest ([`image_name`]), so whoever knows these knows the name, and no name ever
//! means another checkpoint.
#![deny(missing_docs)]

mod again;
mod archive;
mod containerd;
pub mod cri;
mod cri_o;
pub mod facts;
mod kubelet;
mod name;
mod target;
mod tool;

use std::fmt;

use async_trait::async_trait;
use ms2m_core::{MigrationId, Result};

pub use archive::Archive;
pub use containerd::{Containerd, ContainerdOptions};
pub use cri_o::{CriO, CriOOptions};
pub use kubelet::KubeletSource;
pub use name::{copy_image_name, image_name};
pub use target::{Copy, ImageTarget, forget_gone, knows_copies};

/// Where a runtime keeps images.
///
/// # Contract
/// - Both may be repeated, and do what is missing: a store that holds an image already is not filled again, and to remove what is not there is
///   fine.
/// - A call that is dropped or runs out of its time leaves no process behind. Whatever it has left in the store, the next call goes on from it.
#[async_trait]
pub trait ImageStore: fmt::Debug + Send + Sync + 'static {
    /// As a word for logs.
    fn name(&self) -> &'static str;

    /// Whether the programs that it needs are there.
    ///
    /// # Errors
    /// `Unsupported`, with what to install.
    async fn check(&self) -> Result<()>;

    /// Makes the archive an image, and returns when a container can be made of it.
    ///
    /// # Errors
    /// When the store does not take it. Nothing is visible then under the image's name.
    async fn load(&self, archive: &Archive) -> Result<()>;

    /// Makes sure that the runtime finds the application's own image, `NAME@DIGEST` of a registry, when it restores a checkpoint of such a container.
    ///
    /// # Errors
    /// When it is not here and cannot be had.
    async fn resolve(&self, reference: &str) -> Result<()>;

    /// Keeps the application's own image, which was [resolved](Self::resolve), for a migration's copy. What is kept is called
    /// `localhost/ms2m/application:MIGRATION`, and stays when the runtime is short of room.
    ///
    /// # Errors
    /// When it is not here any more, or the store does not take it.
    async fn keep(&self, reference: &str, migration: &MigrationId) -> Result<()>;

    /// Gives an image that is here another name as well, which means nothing else any more.
    ///
    /// # Errors
    /// When the image is not here.
    async fn tag(&self, from: &str, name: &str) -> Result<()>;

    /// Removes an image's name, and the image with its last one.
    ///
    /// # Errors
    /// When it may still be there. An image that a container uses stays, without an error: it is the runtime's to remove it.
    async fn remove(&self, name: &str) -> Result<()>;
}
