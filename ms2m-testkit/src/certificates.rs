//! [`Authority`]: certificates for agents and their clients, good ones and bad ones, as PEM files.
//!
//! For tests, and for what runs on one machine only. The keys lie in files, for their owner only.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

/// An authority that signs what it is asked for.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// How long a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// From an hour ago, for a day.
    Now,
    /// Until an hour ago.
    Expired,
    /// From in an hour.
    NotYet,
}

/// Where a certificate lies, named as in a directory that Kubernetes mounts from a Secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// The directory of the three.
    pub directory: PathBuf,
    /// `tls.crt`: the certificate.
    pub certificate: PathBuf,
    /// `tls.key`: its key.
    pub key: PathBuf,
    /// `ca.crt`: the authority's own certificate.
    pub authority: PathBuf,
}

impl Authority {
    /// A new one, which nobody believes yet.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ms2m test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validate(&mut params, Validity::Now);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)? })
    }

    /// A certificate for a node, as client and as server, in a directory that is made when missing. What is there is replaced.
    ///
    /// # Errors
    /// When the files cannot be written, or the node's name is no DNS name.
    pub fn issue(&self, directory: impl AsRef<Path>, node: &str) -> io::Result<CertificateFiles> {
        self.issue_valid(directory, node, Validity::Now)
    }

    /// The same with a validity of one's choice.
    ///
    /// # Errors
    /// See [`issue`](Self::issue).
    pub fn issue_valid(&self, directory: impl AsRef<Path>, node: &str, validity: Validity) -> io::Result<CertificateFiles> {
        let mut params = CertificateParams::new([node.to_owned()]).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, node);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        validate(&mut params, validity);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let directory = directory.as_ref();
        let files = CertificateFiles {
            directory: directory.to_owned(),
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
            authority: directory.join("ca.crt"),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        write(&files.authority, &self.issuer.pem())?;
        write(&files.key, &key.serialize_pem())?;
        write(&files.certificate, &certificate.pem())?;
        Ok(files)
    }
}

fn validate(params: &mut CertificateParams, validity: Validity) {
    let now = OffsetDateTime::now_utc();
    let hour = Duration::hours(1);
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (now - hour, now + Duration::days(1)),
        Validity::Expired => (now - Duration::days(1), now - hour),
        Validity::NotYet => (now + hour, now + Duration::days(1)),
    };
}

/// As a whole: whoever reads it meanwhile reads the former one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(new, path)
}
