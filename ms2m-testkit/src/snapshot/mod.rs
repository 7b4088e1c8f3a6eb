//! Checkpoints that the consumer writes itself at its safe point, and copies that start from them.
//!
//! No process is frozen: the SDK serialises its state while it is parked. [`SnapshotSource`] and [`SnapshotTarget`] make the
//! core's traits of that; what remains for a host is small: [`SnapshotOrigin`] gives the state, [`SnapshotHost`] starts a copy.

mod directory;
mod source;
mod target;

pub use directory::{ChildProcess, DirectoryOrigin, SourceProcess, write_snapshot};
pub use source::{Snapshot, SnapshotOrigin, SnapshotSource};
pub use target::{SnapshotHost, SnapshotTarget};
