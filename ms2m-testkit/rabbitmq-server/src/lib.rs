//! A private RabbitMQ for tests: loopback only, free ports, its own directory, no trace afterwards.
//!
//! ```no_run
//! use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};
//!
//! let server = RabbitMqServer::start(&Options::default())?;
//! println!("{} {}", server.amqp_url(), server.management_url());
//! # Ok::<(), ms2m_testkit_rabbitmq::StartError>(())
//! ```
//!
//! A start takes seconds, so a test binary keeps one server in a `OnceLock` and gives each test queues of its own. That
//! static is never dropped; the server ends all the same, because its keeper (see [`RabbitMqServer`]) sees this process end.
#![deny(missing_docs)]

mod error;
mod find;
mod options;
mod ready;
mod server;

pub use error::StartError;
pub use options::Options;
pub use server::{RabbitMqServer, Stop};
