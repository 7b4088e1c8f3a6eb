//! [`Credentials`]: who this side is and whom it believes, read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ms2m_core::{Error, ErrorKind, Result};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Certificate, key and the authority that all agents share, as PEM files.
///
/// Each new connection uses what the files hold at that time, so a renewed certificate needs no restart. While they do not fit together,
/// as between the replacement of one and the other, the last ones that did stay in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
}

impl Credentials {
    /// The own certificate (with intermediates, leaf first), its key, and the authorities whose certificates are believed.
    #[must_use]
    pub fn from_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>, authority: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), authority: authority.into() }
    }

    /// The names that certificates have in a directory that Kubernetes mounts from a TLS Secret: `tls.crt`, `tls.key`, `ca.crt`.
    #[must_use]
    pub fn from_directory(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        Self::from_files(directory.join("tls.crt"), directory.join("tls.key"), directory.join("ca.crt"))
    }

    /// Changes whenever one of the files does. `None` where a file is missing.
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key, &self.authority].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn load(&self) -> Result<Loaded> {
        let certificates = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable("key", &self.key).caused_by(error))?;
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.authority)? {
            roots.add(certificate).map_err(|error| unreadable("authority", &self.authority).caused_by(error))?;
        }
        Ok(Loaded { certificates, key, roots: Arc::new(roots) })
    }
}

type Stamp = [Option<(SystemTime, u64)>; 3];

struct Loaded {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|error| unreadable("certificate", path).caused_by(error))?;
    if certificates.is_empty() { Err(unreadable("certificate", path)) } else { Ok(certificates) }
}

fn unreadable(what: &str, path: &Path) -> Error {
    let message = format!("this file does not hold a {what} in PEM; name the right one, or have it issued anew");
    Error::fatal(ErrorKind::Unauthorized, message).with("path", path.display())
}

/// The provider is passed on explicitly: a library does not choose one for the process.
fn provider() -> Arc<CryptoProvider> {
    // AES-128 before AES-256: the same for this purpose, and faster.
    let cipher_suites =
        vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = "certificate, key and authority do not fit together; have them issued anew";
    Error::fatal(ErrorKind::Unauthorized, message).caused_by(error)
}

/// A session that is taken up again would not look at the certificate, which may have expired since: nothing is kept.
fn server(loaded: Loaded) -> Result<ServerConfig> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(loaded.roots, Arc::clone(&provider)).build().map_err(unusable)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(loaded.certificates, loaded.key)
        .map_err(unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client(loaded: Loaded) -> Result<ClientConfig> {
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(loaded.roots, Arc::clone(&provider)).build().map_err(unusable)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(loaded.certificates, loaded.key)
        .map_err(unusable)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What one side of TLS needs, always of today's files.
pub(crate) struct Reloading<C> {
    files: Credentials,
    build: fn(Loaded) -> Result<C>,
    current: Mutex<Option<(Stamp, Arc<C>)>>,
}

impl<C> std::fmt::Debug for Reloading<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(f)
    }
}

impl Reloading<ServerConfig> {
    pub(crate) fn server(files: Credentials) -> Self {
        Self { files, build: server, current: Mutex::default() }
    }
}

impl Reloading<ClientConfig> {
    pub(crate) fn client(files: Credentials) -> Self {
        Self { files, build: client, current: Mutex::default() }
    }
}

impl<C> Reloading<C> {
    /// # Errors
    /// When nothing usable has ever been there.
    pub(crate) fn current(&self) -> Result<Arc<C>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if let Some((loaded, config)) = &*current
            && *loaded == stamp
        {
            return Ok(Arc::clone(config));
        }
        match (self.files.load().and_then(self.build), &*current) {
            (Ok(config), _) => {
                let config = Arc::new(config);
                *current = Some((stamp, Arc::clone(&config)));
                Ok(config)
            }
            (Err(error), Some((_, last))) => {
                tracing::warn!(%error, "the changed certificates cannot be used; the former ones stay");
                Ok(Arc::clone(last))
            }
            (Err(error), None) => Err(error),
        }
    }
}
