//! Migrations as Kubernetes resources.
#![deny(missing_docs)]

pub mod api;
mod error;
pub mod owner;
mod plan;
pub mod pod;
mod source;
mod target;
mod watch;

pub use plan::Plan;
pub use source::KubeSource;
pub use target::{KubeTarget, NodeTargets, Placed};
