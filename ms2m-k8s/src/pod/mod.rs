//! The source's pod, and the copy that is made after it.

mod copy;
mod preflight;
mod source;

pub(crate) use copy::COPIES;
pub use copy::{Copy, copy_name};
pub use preflight::{Claims, obstacles};
pub use source::{Identity, SourcePod};
