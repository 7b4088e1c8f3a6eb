//! TLS over loopback, with nothing around it, and with the digests and files that a transfer has on both sides.

use ms2m_core::DigestAlgorithm;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::bounds::{PIECE_BYTES, drain, over_loopback, pour};

/// Both ends, with the cipher and the buffers of the real ones.
#[derive(Clone)]
pub(crate) struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
}

impl Ends {
    /// With a node's credentials.
    pub(crate) fn new(credentials: &Path, node: &str) -> Result<Self> {
        let provider = Arc::new(CryptoProvider { cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256], ..default_provider() });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(credentials.join("ca.crt"))?)?;
        let certificate = vec![CertificateDer::from_pem_file(credentials.join("tls.crt"))?];
        let key = PrivateKeyDer::from_pem_file(credentials.join("tls.key"))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&TLS13])?;
        let mut server = server.with_no_client_auth().with_single_cert(certificate, key)?;
        // A client that does not wait for them would close with them unread.
        server.send_tls13_tickets = 0;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
            name: ServerName::try_from(node.to_owned())?,
        })
    }

    fn sender(&self, stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut connection = ClientConnection::new(Arc::clone(&self.client), self.name.clone())?;
        connection.set_buffer_limit(Some(PIECE_BYTES));
        Ok(StreamOwned::new(connection, stream))
    }

    fn receiver(&self, stream: TcpStream) -> Result<StreamOwned<ServerConnection, Buffered>> {
        Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&self.server))?, Buffered(BufReader::with_capacity(PIECE_BYTES / 2, stream))))
    }

    /// So many bytes.
    pub(crate) fn stream(&self, bytes: u64) -> Result<()> {
        let ends = self.clone();
        over_loopback(move |stream| pour(&mut ends.sender(stream)?, bytes), |stream| drain(&mut self.receiver(stream)?, bytes))
    }

    /// The work of a transfer and nothing else, in one thread on each side: read and digested there, digested and written here.
    pub(crate) fn carry(&self, from: &Path, to: &Path) -> Result<()> {
        let (ends, from, bytes) = (self.clone(), from.to_owned(), from.metadata()?.len());
        over_loopback(move |stream| send(&from, &mut ends.sender(stream)?), |stream| receive(&mut self.receiver(stream)?, to, bytes))
    }
}

fn send(from: &PathBuf, to: &mut impl Write) -> Result<()> {
    let (mut file, mut hash, mut piece) = (File::open(from)?, DigestAlgorithm::Blake3.hasher(), vec![0; PIECE_BYTES]);
    loop {
        let bytes = file.read(&mut piece)?;
        if bytes == 0 {
            break;
        }
        hash.update(&piece[..bytes]);
        to.write_all(&piece[..bytes])?;
    }
    to.write_all(hash.finalize().as_bytes())?;
    Ok(to.flush()?)
}

fn receive(from: &mut impl Read, to: &Path, bytes: u64) -> Result<()> {
    let (mut file, mut hash, mut piece, mut left) = (File::create_new(to)?, DigestAlgorithm::Blake3.hasher(), vec![0; PIECE_BYTES], bytes);
    while left > 0 {
        let step = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        from.read_exact(&mut piece[..step])?;
        file.write_all(&piece[..step])?;
        hash.update(&piece[..step]);
        left -= step as u64;
    }
    let mut digest = [0; 32];
    from.read_exact(&mut digest)?;
    ensure!(digest == *hash.finalize().as_bytes(), "what has arrived is not what was sent");
    Ok(())
}

/// Reads in large steps; what is written goes out as it is.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(to)
    }
}

impl Write for Buffered {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}

#[cfg(test)]
mod tests {
    use ms2m_testkit::certificates::Authority;

    use super::*;

    #[test]
    fn what_is_carried_arrives() {
        let home = tempfile::tempdir().unwrap();
        Authority::new().unwrap().issue(home.path(), "node").unwrap();
        let ends = Ends::new(home.path(), "node").unwrap();
        ends.stream(PIECE_BYTES as u64 + 1).unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        ends.carry(&from, &to).unwrap();
        assert!(std::fs::read(to).unwrap() == bytes);
    }
}
