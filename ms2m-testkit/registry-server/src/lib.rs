//! A private registry for tests: Docker's, on loopback only, on a free port, in a directory of its own, no trace afterwards.
//!
//! ```no_run
//! use ms2m_testkit_registry::{Options, RegistryServer};
//!
//! let server = RegistryServer::start(&Options::default())?;
//! println!("{}", server.address());
//! # Ok::<(), ms2m_testkit_registry::StartError>(())
//! ```
#![deny(missing_docs)]

mod error;
mod find;
mod options;
mod server;

pub use error::StartError;
pub use options::{Options, PASSWORD, USER};
pub use server::RegistryServer;
