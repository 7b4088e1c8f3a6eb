//! From a layout to the archive.

mod checkpoint;
mod directory;
mod extract;
mod layer;
mod layout;
mod section;
mod store;
mod tarball;

pub use checkpoint::Checkpoint;
pub(crate) use directory::Directory;
pub use layer::LayerReader;
pub use layout::Layout;
