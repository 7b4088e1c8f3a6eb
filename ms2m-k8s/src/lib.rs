//! Migrations as Kubernetes resources.
#![deny(missing_docs)]

pub mod api;
