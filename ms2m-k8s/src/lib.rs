//! Migrations as Kubernetes resources.
#![deny(missing_docs)]

pub mod api;
mod error;
pub mod owner;
pub mod pod;
