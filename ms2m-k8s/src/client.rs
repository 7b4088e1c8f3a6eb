//! A client that does not overrun the API server.

use kube::client::ClientBuilder;
use kube::{Client, Config};
use ms2m_core::{Error, ErrorKind, Result};
use tower::limit::ConcurrencyLimitLayer;

/// How many requests may be under way.
const REQUESTS_MAX: usize = 32;

/// A client for an [`Operator`](crate::Operator) of many migrations: of its requests at most 32 are under way, and the others wait for their turn. Each takes a
/// connection, and what is asked of a busy API server is answered no sooner when more is asked. A watch counts until it has begun.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a configuration of which no client can be made.
pub fn client(config: Config) -> Result<Client> {
    let invalid = |error| {
        Error::fatal(ErrorKind::Invalid, "the configuration of the cluster's client is of no use; see its kubeconfig").caused_by(error)
    };
    let builder = ClientBuilder::try_from(config).map_err(invalid)?;
    Ok(builder.with_layer(&ConcurrencyLimitLayer::new(REQUESTS_MAX)).build())
}
