//! [`DirectTransfer`]: checkpoints go straight to the target node's [`Agent`], over mutually authenticated TLS 1.3.
//!
//! ```text
//! body ─► digest ─► window ─► TLS ══════► TLS ─► digest, disk ─► check ─► rename ─► visible
//!                     ▲                               │
//!                     └──── so much is written ◄──────┘
//! ```
//!
//! A request announces a part, its size and the call that sends it; the agent checks the certificate, asks its [`Admission`], and reserves
//! the room before it says yes. The connection is then upgraded: the agent says what it holds of this part already, the client finds the last
//! place up to which both have the same bytes, and sends from there. What was not acknowledged yet stays in a window of constant size, so
//! that a cut costs no more than that. The digest comes last, and only what it confirms becomes visible, by a rename.
//!
//! Of two calls that send the same part the later one takes over; the earlier one ends with an error.
//!
//! An acknowledged byte is written, not yet on the disk: it survives the agent, not the node. What was lost with a node is found by
//! its digest and sent again. What is visible is on the disk.
//!
//! - [`DirectTransfer`], [`Credentials`]: the client. [`Caller`] asks what a program serves beside its agent.
//! - [`agent`]: the other side, to be served by itself or as a router within another program.
#![deny(missing_docs)]

pub mod agent;
mod backend;
mod buffered;
mod caller;
mod connect;
mod credentials;
mod identity;
mod receive;
mod send;
mod source;
mod tls_error;
mod wire;

pub use agent::{Admission, Agent};
pub use backend::DirectTransfer;
pub use caller::Caller;
pub use credentials::Credentials;
pub use identity::Peer;
pub use wire::{Status, Stored};
