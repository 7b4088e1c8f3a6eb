//! A client that says what it likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::Error;
use ms2m_testkit::certificates::CertificateFiles;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TARGET, uploaded};

/// A TLS connection to an agent, over which anything can be said.
pub(crate) struct Raw(pub(crate) TlsStream<TcpStream>);

impl Raw {
    /// With the certificate of these files, or with none.
    pub(crate) async fn connect(
        address: SocketAddr,
        authority: &CertificateFiles,
        own: Option<&CertificateFiles>,
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&authority.authority).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some(own) => {
                let certificates = vec![CertificateDer::from_pem_file(&own.certificate).unwrap()];
                config.with_client_auth_cert(certificates, PrivateKeyDer::from_pem_file(&own.key).unwrap()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(TARGET).unwrap();
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(text.as_ref()).await?;
        self.0.flush().await
    }

    /// Everything until the other side ends, or has said nothing for a while.
    pub(crate) async fn hear(&mut self) -> std::io::Result<String> {
        let mut heard = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(20), self.0.read_to_end(&mut heard)).await.expect("the agent ends the connection");
        match read {
            Err(error) if heard.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&heard).into_owned()),
        }
    }

    /// The head of an answer.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).unwrap()
    }

    /// The next word on an upgraded connection.
    pub(crate) async fn word(&mut self) -> serde_json::Value {
        let length = self.0.read_u32().await.expect("a word") as usize;
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).await.expect("a whole word");
        serde_json::from_slice(&text).unwrap()
    }

    /// Announces an upload and waits until the agent wants it; returns what the agent holds.
    pub(crate) async fn upload(&mut self, name: &str, bytes: usize, call: &str) -> u64 {
        self.say(announcement(name, bytes, call, "")).await.unwrap();
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut held = 0;
        loop {
            let word = self.word().await;
            match word["mark"]["bytes"].as_u64() {
                Some(bytes) => held = bytes,
                None => {
                    assert_eq!(word, "go");
                    return held;
                }
            }
        }
    }
}

pub(crate) fn announcement(name: &str, bytes: usize, call: &str, more: &str) -> String {
    format!(
        "POST /v1/checkpoints/{name}/final HTTP/1.1\r\nHost: agent\r\nConnection: upgrade\r\nUpgrade: ms2m-transfer/2\r\n\
         ms2m-archive-bytes: {bytes}\r\nms2m-call: {call}\r\n{more}\r\n"
    )
}

/// What a form looks like on the wire, chunked: without a size in advance.
pub(crate) fn form(name: &str, archive: &[u8], more: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(b"--edge\r\nContent-Disposition: form-data; name=\"checkpoint\"; filename=\"c.tar\"\r\n\r\n");
    body.extend_from_slice(archive);
    body.extend_from_slice(
        format!("\r\n--edge\r\nContent-Disposition: form-data; name=\"containerName\"\r\n\r\n{name}\r\n--edge--\r\n").as_bytes(),
    );
    let mut wire = format!(
        "POST /checkpoint HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=edge\r\n{more}Transfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for piece in body.chunks(60_000) {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    *uploaded(bytes).as_bytes()
}

/// What an error says: without what differs from run to run.
pub(crate) fn said(error: &Error) -> String {
    let text = error.message();
    text.split(" [").next().unwrap_or(&text).to_owned()
}
