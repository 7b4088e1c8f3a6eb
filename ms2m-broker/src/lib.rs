//! Hands a message queue from one consumer to another, exactly.
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
