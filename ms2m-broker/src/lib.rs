//! Hands a message queue from one consumer to another, exactly.
//!
//! - [`protocol`]: the machines of source, copy and controller, and the journal's records. No I/O: an event in, actions out.
//! - [`link`]: the seam to a broker. [`rabbitmq`] is one, the in-memory broker of `ms2m-testkit` another.
//! - [`journal`]: [`ms2m_core::ReplayBroker`] over any link: what a migration's driver talks to.
//!
//! The machines of source and copy are hosted by the SDK (`ms2m-consumer`); nothing here depends on it, so that another host,
//! such as a proxy beside an unmodified consumer, can run them as well.
#![deny(missing_docs)]

pub mod journal;
pub mod link;
pub mod message;
#[cfg(test)]
mod model;
pub mod protocol;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;

pub use link::{Broker, Connection, LinkError};
pub use message::{Message, MessageKey, Properties, Value};
