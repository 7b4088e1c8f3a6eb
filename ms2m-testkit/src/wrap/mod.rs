//! Wrappers that make any implementation of the core traits slow or unreliable.
//!
//! They keep the name and the capability of what they wrap, and share it: `Delayed::new(Arc<dyn TransferBackend>, …)` works
//! as well as a concrete type.

mod chaos;
mod delayed;
mod throttled;

pub use chaos::{Chaos, ChaosOptions, Moment};
pub use delayed::Delayed;
pub use throttled::Throttled;
