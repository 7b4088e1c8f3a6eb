//! [`Registry`]: checkpoints pass through a repository of an OCI registry.
//!
//! ```text
//! MIGRATION.round-1.4f53cda18c2baa0c   MIGRATION.final.e3b0c44298fc1c14    one tag for each part that has arrived
//!        └─ manifest ─┬─ config      names the layer once more, as images do
//!                     └─ layer       the part's bytes, unchanged
//! ```
//! A part's bytes pass once, in one request, while their digest is computed; the manifest comes last, so that nothing can be found before all
//! of it is there and has the right digest. A node pulls such an image by the digest in [`Receipt::location`](ms2m_core::Receipt::location).
//!
//! | what happens | what is done |
//! |---|---|
//! | the connection breaks | asks how far the upload has come and goes on there, as long as what is missing is among the last 8 MiB |
//! | the registry forgets a broken upload (Docker's does) | begins anew if that is possible, else the caller sends again |
//! | 413 or 411 | goes on in pieces of 16 MiB, smaller ones if need be; for good |
//! | 429, 5xx, no answer | again after a pause, `Retry-After` honoured |
//! | 401 in the middle | another token, once for each request |
//! | the caller loses interest | the upload is ended and removed |
//!
//! Memory: the last 8 MiB (after a 413: 16 MiB), and little else. TLS wants the program's crypto provider to be installed.
#![deny(missing_docs)]

mod auth;
mod backend;
mod client;
mod discard;
mod fault;
mod hash;
mod image;
mod options;
mod pauses;
mod publish;
mod receive;
mod send;
mod session;
mod source;
mod tag;
mod tls;

pub use auth::Credentials;
pub use backend::Registry;
pub use options::RegistryOptions;
