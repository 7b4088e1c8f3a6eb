//! TLS, without making a choice for the whole process.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};

use crate::link::{LinkError, LinkResult};

/// With no provider installed lapin's connector would install one as the process default, and reqwest would panic. That
/// choice is the binary's, so it must have made it.
pub(super) fn check(uses_tls: bool) -> LinkResult<()> {
    if uses_tls && CryptoProvider::get_default().is_none() {
        let advice = "TLS needs a crypto provider: install rustls::crypto::aws_lc_rs::default_provider() by its install_default, first thing in main";
        return Err(LinkError::Refused(advice.into()));
    }
    Ok(())
}

/// For a client that speaks plain HTTP: reqwest wants a TLS configuration all the same. It trusts nobody.
///
/// # Errors
/// Never with the protocol versions that rustls has by default.
pub(super) fn unused() -> LinkResult<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|error| LinkError::Unavailable(error.to_string()))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
