//! What every implementation of ms2m's traits is tested with, and what the demo runs on.
//!
//! - [`memory_broker`]: RabbitMQ in memory, with its orders and its faults.
//! - [`memory_transfer`], [`snapshot`]: in-memory transfer; checkpoint and restore of consumers that write their own state.
//! - [`conformance`], [`link_conformance`]: the contracts of the traits as suites that every implementation runs.
//! - [`wrap`]: [`Delayed`](wrap::Delayed), [`Throttled`](wrap::Throttled) and [`Chaos`](wrap::Chaos) over any implementation.
//! - [`workload`], [`auditor`]: publishers, and the independent judge of what became of their messages.
//! - [`relay`]: a wire that breaks as it is told, between a real client and a real server.
//! - [`certificates`]: an authority and what it signs, good and bad.
//! - `fake_registry`, with the feature of that name: an OCI registry that misbehaves as it is told.
//! - `collector`, with the feature of that name: it takes OpenTelemetry spans, and tells them.
//! - [`clock`]: simulated time.
//!
//! All time is tokio's: under paused time everything here (but relay and registry, whose sockets are real) is fast and repeatable.
#![deny(missing_docs)]

pub mod auditor;
pub mod certificates;
pub mod clock;
#[cfg(feature = "collector")]
pub mod collector;
pub mod conformance;
#[cfg(feature = "fake-registry")]
pub mod fake_registry;
pub mod link_conformance;
pub mod memory_broker;
pub mod memory_transfer;
pub mod relay;
pub mod snapshot;
pub mod workload;
pub mod wrap;

pub use auditor::{Auditor, EffectRecord, Verdict};
pub use clock::SimulatedClock;
pub use memory_broker::{Faults, MemoryBroker, Profile};
pub use memory_transfer::MemoryTransfer;
pub use relay::Relay;
