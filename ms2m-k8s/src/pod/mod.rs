//! The source's pod, and the copy that is made after it.

mod affinity;
mod copy;
mod preflight;
mod source;
mod together;

pub(crate) use affinity::{pin, pinned_to};
pub(crate) use copy::COPIES;
pub use copy::{Copy, copy_name};
pub use preflight::{Claims, obstacles};
pub use source::{Identity, SourcePod};
