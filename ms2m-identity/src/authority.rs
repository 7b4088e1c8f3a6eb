//! [`Authority`]: signs the certificates of nodes and controllers.

use std::fmt;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use time::OffsetDateTime;

/// How long an authority is believed.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks differ; at most a tenth of a certificate's time, so that its age says when it is to be renewed.
const BACKDATED_MAX: Duration = Duration::from_secs(300);

/// A key, and the certificate by which everybody knows it.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate that an authority has signed, each PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// The authorities to believe.
    pub authority: String,
}

impl Authority {
    /// A new one, whom nobody believes yet.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate().map_err(unmade)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named("ms2m authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, LIFETIME);
        let certificate = params.self_signed(&key).map_err(unmade)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) })
    }

    /// One that was made before, of its certificate and its key, both PEM.
    ///
    /// # Errors
    /// `Corrupt` when these are none.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        let broken = |error: rcgen::Error| {
            let message = "this is no certificate and key of an authority; empty it, and the controller makes a new one";
            Error::fatal(ErrorKind::Corrupt, message).caused_by(error)
        };
        let pair = KeyPair::from_pem(key).map_err(broken)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, pair).map_err(broken)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), issuer })
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A certificate for whoever has the other half of this key, as client and as server of this name.
    ///
    /// # Errors
    /// `Invalid` when the name cannot stand in a certificate.
    pub fn sign(&self, name: &str, key: &impl PublicKeyData, lifetime: Duration) -> Result<Signed> {
        let impossible = |error: rcgen::Error| {
            Error::fatal(ErrorKind::Invalid, "no certificate can be made for this name").with("name", name).caused_by(error)
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().map_err(impossible)?)];
        params.distinguished_name = named("ms2m");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, lifetime);
        let certificate = params.signed_by(key, &self.issuer).map_err(impossible)?.pem();
        Ok(Signed { certificate, authority: self.certificate.clone() })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid(params: &mut CertificateParams, lifetime: Duration) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - BACKDATED_MAX.min(lifetime / 10), now + lifetime);
}

pub(crate) fn unmade(error: rcgen::Error) -> Error {
    Error::fatal(ErrorKind::Other, "no key and no certificate can be made on this machine").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_was_kept_signs_as_before() {
        let made = Authority::new().unwrap();
        let kept = Authority::from_pem(made.certificate(), made.key()).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = kept.sign("n1", &key, Duration::from_secs(60)).unwrap();
        assert_eq!(signed.authority, made.certificate());
        let (_, leaf) = x509_parser::pem::parse_x509_pem(signed.certificate.as_bytes()).unwrap();
        let (_, root) = x509_parser::pem::parse_x509_pem(made.certificate().as_bytes()).unwrap();
        let (leaf, root) = (leaf.parse_x509().unwrap(), root.parse_x509().unwrap());
        leaf.verify_signature(Some(root.public_key())).unwrap();
        assert!(root.is_ca() && !leaf.is_ca() && leaf.validity().is_valid());
        assert_eq!((leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp()) / 2, 33);
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let made = Authority::new().unwrap();
        assert_eq!(Authority::from_pem("", made.key()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(Authority::from_pem(made.certificate(), "").unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(!format!("{made:?}").contains("KEY"));
    }
}
