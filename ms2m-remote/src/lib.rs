//! The drivers of other nodes.
//!
//! A controller has a migration driven by [`ms2m_core::Driver`] over [`RemoteSource`], [`RemoteTransfer`] and [`RemoteTarget`]; each call is
//! a question to the agent of the node in question, which has the real drivers ([`Node`]). The checkpoint itself goes from node to node: the
//! source's agent sends it, whoever drives sees none of its bytes.
//!
//! ```text
//! controller                     node a: agent                     node b: agent
//!   RemoteSource ── checkpoint ──► CheckpointSource
//!   RemoteTransfer ─── send ─────► TransferBackend ══ bytes ══════► what has arrived
//!   RemoteTarget ────────────────────── restore ──────────────────► RestoreTarget
//! ```
//!
//! - [`routes`] puts a [`Node`] beside an agent of `ms2m-transfer-direct`, whose TLS and peers it shares.
//! - All questions can be asked twice, as the traits demand. Errors keep their kind and their verdict on the way.
#![deny(missing_docs)]

mod node;
mod place;
mod serve;
mod source;
mod target;
mod transfer;
mod wire;

pub use node::Node;
pub use place::{FromImage, Member, Restores, SourcePlace, Taker, TargetPlace, Way};
pub use serve::routes;
pub use source::RemoteSource;
pub use target::{RemoteTarget, recipient, restores};
pub use transfer::RemoteTransfer;
