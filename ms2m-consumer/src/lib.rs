//! The SDK of ms2m: consumers of a message queue that can be moved to another node while they serve.
//!
//! An application writes a [`Handler`]: how one message changes its state, and which effects follow. The SDK does the rest. It
//! numbers and digests what is applied, recognises what the broker delivers twice, acknowledges, lets effects out, and, when a
//! controller asks for it, takes its part in a migration: it parks at a safe point, journals, replays, hands over.
//!
//! ```
//! use ms2m_consumer::{Context, Determinism, Effects, Handler};
//! use ms2m_broker::Message;
//!
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! impl Handler for Counter {
//!     fn determinism(&self) -> Determinism {
//!         Determinism::Pure
//!     }
//!
//!     async fn apply(&mut self, _: &Message, _: &mut Context<'_>) -> Effects {
//!         self.0 += 1;
//!         Effects::one(self.0.to_string())
//!     }
//! }
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use ms2m_consumer::{Consumer, Handler, Identity, Outcome, QueueSpec};
//! # use ms2m_broker::Broker;
//! # async fn run(broker: Arc<dyn Broker>, handler: impl Handler) -> ms2m_core::Result<()> {
//! let consumer = Consumer::builder(broker, QueueSpec::quorum("orders"), handler)
//!     .identity(Identity::file("/etc/podinfo/uid"))
//!     .build()?;
//! match consumer.run().await? {
//!     Outcome::Moved => println!("another consumer goes on from here"),
//!     Outcome::Discarded(reason) => println!("this copy is not needed: {reason}"),
//!     Outcome::Stopped => println!("stopped"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a handler promises
//! The copy of a moving consumer replays what the source has applied, so `apply` must come to the same state again. A
//! [`Pure`](Determinism::Pure) handler looks at its state and the message alone. A [`Recorded`](Determinism::Recorded) one takes
//! time, random numbers and reads through its [`Context`], which writes them to the journal. For all others
//! ([`Unknown`](Determinism::Unknown), the default) nothing is replayed: they stay parked while they move.
//!
//! # One consumer for a queue
//! Its state is that of all messages of the queue, so a consumer which finds another one there waits until that has left
//! ([`Standing::Waiting`]), also when it comes back after an outage. On a queue with a single active consumer the broker sees to it. A
//! rollout of Kubernetes that waits for [`Standing::is_serving`] of the new pod needs `strategy: Recreate`.
//!
//! # What effects are worth
//! Effects leave in the order of the messages, before these are acknowledged, each under an [`EffectId`] that is the same on every
//! attempt. They leave exactly once unless a process or a connection dies; then those of at most the last window of messages may
//! leave again, with the same ids and, from a deterministic handler, the same payloads.
#![deny(missing_docs)]

mod builder;
mod consumer;
mod context;
mod effect;
mod handler;
mod host;
mod identity;
mod limits;
mod outcome;
mod queue;
mod snapshot;
mod snapshot_sink;

pub use builder::ConsumerBuilder;
pub use consumer::{Consumer, StopHandle};
pub use context::Context;
pub use effect::{ChannelSink, Effect, EffectId, EffectSink, Effects, NoEffects, PublishSink};
pub use handler::Handler;
pub use identity::Identity;
pub use limits::Limits;
pub use outcome::{Outcome, Standing};
pub use queue::QueueSpec;
pub use snapshot::{SNAPSHOT_VERSION, Snapshot};
pub use snapshot_sink::{ChannelSnapshots, DirectorySnapshots, SnapshotSink, Snapshotted};

pub use ms2m_broker::protocol::Determinism;
pub use ms2m_broker::{Message, Properties, Value};
