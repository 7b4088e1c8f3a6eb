//! The edges of RabbitMQ that the protocols rest on, each as a test against a real broker, through the link.
//!
//! Run with `--nocapture` to see what was measured; only correctness is asserted.

mod acks;
mod confirms;
mod counts;
mod failures;
mod fencing;
mod handover;
mod latency;
mod relay;
mod streams;
mod support;
