//! Bare process trees, without any container: [`ProcessSource`] and [`ProcessTarget`].
//!
//! The source goes on with its process ids while its copy comes to life on the same machine, so the copy gets a pid namespace of its own,
//! and a mount namespace in which it finds its own content wherever the source had files open for writing.

mod id;
mod launch;
mod open_files;
mod options;
mod source;
mod target;
mod tree;

pub use id::ProcessId;
pub use options::{SourceOptions, TargetOptions};
pub use source::ProcessSource;
pub use target::ProcessTarget;
pub use tree::TreeId;

/// The tree's name in the archive.
const CONTAINER: &str = "process";
