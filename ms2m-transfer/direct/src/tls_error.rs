//! What went wrong with a connection, with what to do about it.

use std::error::Error as StdError;
use std::io;

use ms2m_core::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

type Cause = dyn StdError + 'static;

/// An error of connecting, of the handshake or of a connection later on: an agent that refuses our certificate says so only after the
/// handshake has ended for us.
pub(crate) fn connection(error: impl StdError + Send + Sync + 'static) -> Error {
    match tls(&error) {
        Some(tls) => refused(tls).caused_by(error),
        None => Error::retry(ErrorKind::Unavailable, "the connection is broken").caused_by(error),
    }
}

/// The TLS error within, however deep.
fn tls(error: &Cause) -> Option<&rustls::Error> {
    let mut inner = Some(error);
    while let Some(error) = inner {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error names the cause of what it wraps as its own, and leaves out what it wraps.
        inner = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn refused(error: &rustls::Error) -> Error {
    let unauthorized = |message: &str| Error::fatal(ErrorKind::Unauthorized, message);
    match error {
        rustls::Error::InvalidCertificate(which) => unauthorized(certificate(which)),
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => unauthorized(
                "the agent refuses this side's certificate, which has expired or is not valid yet; renew it, and see that both clocks are right",
            ),
            AlertDescription::UnknownCA | AlertDescription::DecryptError => unauthorized(
                "the agent refuses this side's certificate, which comes from another authority; have it issued by the agents' own",
            ),
            AlertDescription::CertificateRequired => {
                unauthorized("the agent demands a certificate and this side has shown none; configure certificate and key")
            }
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::UnsupportedCertificate => {
                unauthorized("the agent refuses this side's certificate; its log says why")
            }
            AlertDescription::ProtocolVersion => unauthorized("the agent and this side share no version of TLS; both need 1.3"),
            _ => Error::retry(ErrorKind::Unavailable, "the agent has ended the TLS connection"),
        },
        rustls::Error::NoCertificatesPresented => {
            unauthorized("the client has shown no certificate; it must have one from the agents' authority")
        }
        rustls::Error::PeerIncompatible(_) => unauthorized("the other side does not speak TLS 1.3; update it"),
        rustls::Error::InvalidMessage(_) => {
            Error::fatal(ErrorKind::Invalid, "the other side does not speak TLS; is this the agent's own port, and the URL https?")
        }
        _ => Error::retry(ErrorKind::Unavailable, "the TLS connection is broken"),
    }
}

fn certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the other side's certificate has expired; renew it, and see that both clocks are right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the other side's certificate is not valid yet; see that both clocks are right"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the other side's certificate comes from an authority that is not believed here; use certificates of one authority on all nodes"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the other side's certificate is that of another node; check the agent's address and which node is expected there"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the other side's certificate is not made for this purpose; it needs client and server authentication"
        }
        _ => "the other side's certificate is refused; issue it anew",
    }
}
