//! [`Peer`]: who is on the other side.

use std::fmt;

use ms2m_core::{Error, ErrorKind, Result};
use rustls::pki_types::CertificateDer;

/// The names in the certificate of the other side, which an authority of ours has signed.
///
/// An agent's certificate names its node as a DNS name; a URI (`spiffe://…`) is accepted beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    names: Vec<String>,
}

impl Peer {
    /// A side of these names; what a router of one's own tells about whom it has authenticated.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect() }
    }

    /// # Errors
    /// `Unauthorized` when the certificate names nobody.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Result<Self> {
        let refused = |why: &str| {
            let message = format!("{why}; issue one whose subject alternative name is the node's name");
            Error::fatal(ErrorKind::Unauthorized, message)
        };
        let leaf = chain.and_then(<[_]>::first).ok_or_else(|| refused("the client has shown no certificate"))?;
        let certificate =
            webpki::EndEntityCert::try_from(leaf).map_err(|error| refused("the client's certificate cannot be read").caused_by(error))?;
        let names: Vec<String> = certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect();
        if names.is_empty() {
            return Err(refused("the client's certificate names no node"));
        }
        Ok(Self { names })
    }

    /// Whether one of its names is this one.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Peer {
    /// The first name: DNS names come before URIs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names.first().map_or("nobody", String::as_str))
    }
}
