//! A client that does not overrun the API server.

use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use ms2m_core::{Error, ErrorKind, Result};
use tower::limit::ConcurrencyLimitLayer;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// How many requests may be under way.
const REQUESTS_MAX: usize = 32;
/// A connection that says nothing for so long is asked whether it lives, and is given up when it does not answer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client for an [`Operator`](crate::Operator) of many migrations: of its requests at most 32 are under way, and the others wait for their turn, because what is asked of a
/// busy API server is answered no sooner when more is asked. A watch counts until it has begun.
///
/// All of it goes over one connection of HTTP/2, where the API server is reached directly: a migration ends several watches, each of which would take a connection of HTTP/1
/// with it, and the next request would wait for the handshake of another one.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a configuration of which no client can be made.
pub fn client(config: Config) -> Result<Client> {
    made(config).map_err(|error| {
        Error::fatal(ErrorKind::Invalid, "the configuration of the cluster's client is of no use; see its kubeconfig").caused_by(error)
    })
}

fn made(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() || config.tls_server_name.is_some() {
        return Ok(ClientBuilder::try_from(config)?.with_layer(&ConcurrencyLimitLayer::new(REQUESTS_MAX)).build());
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let https = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http().enable_all_versions();
    let mut http = legacy::Client::builder(TokioExecutor::new());
    http.timer(TokioTimer::new()).http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_timeout(KEEP_ALIVE);
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(REQUESTS_MAX))
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http.build::<_, Body>(https.wrap_connector(connector)));
    Ok(Client::new(service, config.default_namespace))
}
