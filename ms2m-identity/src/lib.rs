//! Who is who among the agents and controllers of a cluster: certificates that an authority of their own signs, for a day at a time.
//!
//! # A tour
//! - [`Authority`] signs. [`AuthorityStore`] keeps its key in a Secret that the first controller fills, and its certificate in a ConfigMap for everybody.
//! - [`Issuer`] is the controller's part: it writes the controller's own certificate into a directory, and signs the requests of agents, which are
//!   CertificateSigningRequests of the signer [`SIGNER`].
//! - [`Policy`] decides about each of them, by what the API server itself has written into it: the account that asks, and the node on which the pod of that
//!   account's token runs. So a node gets certificates of its own name only, and nobody else gets any.
//! - [`Keeper`] is the agent's part, in a process beside the agent: it asks, and asks again when two thirds of a certificate's time are over.
//! - [`CertificateDirectory`] holds `tls.crt`, `tls.key` and `ca.crt`, which change together.
//!
//! # Who is believed
//! The key of a certificate never leaves the process that asks for it. A certificate comes with those of the authorities, over the API server's own TLS, and
//! only who may sign for [`SIGNER`] can have put it there. To replace the authority, empty its Secret: every side has a new certificate after at most a
//! certificate's time, and within that time sides with old ones and new ones do not understand each other.
#![deny(missing_docs)]

mod api;
mod authority;
mod directory;
mod issuer;
mod keeper;
mod policy;
mod request;
mod signer;
mod store;

pub use authority::{Authority, Signed};
pub use directory::{CertificateDirectory, Held};
pub use issuer::{Issuer, IssuerOptions};
pub use keeper::Keeper;
pub use policy::{Granted, Policy, Refusal};
pub use store::AuthorityStore;

/// The signer that agents ask.
pub const SIGNER: &str = "migration.ms2m.io/agent";
/// The name that controllers have in their certificates.
pub const CONTROLLER: &str = "ms2m-controller";
/// The Secret with the authority's key, and the ConfigMap with its certificate.
pub const AUTHORITY: &str = "ms2m-authority";
