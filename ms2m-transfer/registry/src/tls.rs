//! The HTTP client, without making a choice of crypto for the whole process.

use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use reqwest::{Certificate, Client};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};

use crate::options::RegistryOptions;

const CONNECT: Duration = Duration::from_secs(10);
/// What was sent is acknowledged by then, or the connection is dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

pub(crate) fn client(options: &RegistryOptions) -> Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("ms2m/", env!("CARGO_PKG_VERSION")))
        // An upload is one stream: HTTP/2 would only put its own windows around it.
        .http1_only()
        .connect_timeout(CONNECT)
        .tcp_keepalive(UNACKNOWLEDGED)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .https_only(!options.plain_http);
    let builder = if options.plain_http {
        builder.tls_backend_preconfigured(unused()?)
    } else if CryptoProvider::get_default().is_none() {
        let advice = "TLS needs a crypto provider: install rustls::crypto::aws_lc_rs::default_provider() by its install_default, first thing in main";
        return Err(Error::fatal(ErrorKind::Invalid, advice));
    } else {
        builder.tls_certs_merge(certificates(options.ca_pem.as_deref())?)
    };
    let failed = "the HTTP client cannot be made; are the system's certificates installed (Debian: ca-certificates)?";
    builder.build().map_err(|error| Error::fatal(ErrorKind::Invalid, failed).caused_by(error))
}

fn certificates(pem: Option<&[u8]>) -> Result<Vec<Certificate>> {
    let Some(pem) = pem else { return Ok(Vec::new()) };
    let wrong = || Error::fatal(ErrorKind::Invalid, "what was given as the registry's CA holds no certificate; give a PEM file");
    let found = Certificate::from_pem_bundle(pem).map_err(|error| wrong().caused_by(error))?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

/// For a client that speaks plain HTTP: reqwest wants a TLS configuration all the same. It trusts nobody.
fn unused() -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::fatal(ErrorKind::Invalid, "no TLS version is left").caused_by(error))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
