//! A checkpoint over loopback, mutual TLS and digest included, beside what bounds it on this machine: TLS alone, and
//! one pass of BLAKE3; one of SHA-256, which it does not need, for comparison.
//! All in turn in one run, so that whatever else the machine does falls on all of them. `MS2M_BENCH_ROUNDS` and `MS2M_BENCH_BYTES` set how much.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use ms2m_core::{DigestAlgorithm, Part, TransferBackend as _, TransferJob};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::{Served, Setup, TARGET};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PIECE_BYTES: usize = 512 << 10;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rounds = setting("MS2M_BENCH_ROUNDS", 9);
    let sizes = match setting("MS2M_BENCH_BYTES", 0) {
        0 => vec![27 << 20, 256 << 20, 1 << 30],
        bytes => vec![bytes],
    };
    println!("GB/s, median of {rounds} rounds in turn (all rounds behind it); loopback, both sides on this machine");
    for bytes in sizes {
        runtime.block_on(compare(bytes, rounds));
    }
}

async fn compare(bytes: u64, rounds: u64) {
    let directory = tempfile::tempdir_in("/dev/shm").map(|directory| (directory.path().to_owned(), directory));
    let memory = directory.as_ref().ok().map(|(path, _)| path.clone());
    let on_disk = Served::new().await;
    let in_memory = Served::start(Setup { directory: memory, ..Setup::default() }).await;
    let tls = Tls::new(&on_disk);
    let mut rows: [(&str, Vec<f64>); 6] =
        ["BLAKE3, one pass", "TLS 1.3 alone", "SHA-256, one pass", "TCP alone", "direct, into memory", "direct, onto the disk"]
            .map(|name| (name, Vec::new()));
    for _ in 0..rounds {
        let times = [
            digest(DigestAlgorithm::Blake3, bytes),
            tls.pass(bytes).await,
            digest(DigestAlgorithm::Sha256, bytes),
            tcp(bytes).await,
            transfer(&in_memory, bytes).await,
            transfer(&on_disk, bytes).await,
        ];
        for ((_, row), time) in rows.iter_mut().zip(times) {
            row.push(bytes as f64 / time.as_secs_f64() / 1e9);
        }
    }
    println!("{} MiB:", bytes >> 20);
    let median = |row: &[f64]| {
        let mut sorted = row.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let bound = median(&rows[0].1).min(median(&rows[1].1));
    for (name, row) in &rows {
        let all: Vec<String> = row.iter().map(|rate| format!("{rate:.2}")).collect();
        println!("  {name:22} {:5.2}  {:4.0} % of the bound   [{}]", median(row), 100.0 * median(row) / bound, all.join(" "));
    }
}

fn digest(algorithm: DigestAlgorithm, bytes: u64) -> Duration {
    let piece = vec![7_u8; PIECE_BYTES];
    let begun = Instant::now();
    let mut hash = algorithm.hasher();
    for _ in 0..bytes.div_ceil(PIECE_BYTES as u64) {
        hash.update(&piece);
    }
    black_box(hash.finalize());
    begun.elapsed()
}

async fn transfer(served: &Served, bytes: u64) -> Duration {
    let client = served.client();
    let job = TransferJob { migration: support::id("bench"), part: Part::Final, archive_bytes: bytes, deadline: Duration::from_secs(600) };
    let piece = Bytes::from(vec![7_u8; PIECE_BYTES]);
    let pieces = bytes.div_ceil(PIECE_BYTES as u64);
    let last = usize::try_from(bytes - (pieces - 1) * PIECE_BYTES as u64).expect("less than a piece");
    let body = stream::iter((0..pieces).map(move |at| Ok(if at + 1 == pieces { piece.slice(..last) } else { piece.clone() })));
    let begun = Instant::now();
    client.send(&job, Box::pin(body)).await.expect("it arrives");
    let took = begun.elapsed();
    client.discard(&job.migration).await.expect("it goes");
    took
}

async fn tcp(bytes: u64) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let begun = Instant::now();
    let receive = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        drain(&mut stream).await
    });
    pour(TcpStream::connect(address).await.expect("a connection"), bytes).await;
    assert!(receive.await.expect("received") >= bytes);
    begun.elapsed()
}

struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// With the cipher and the buffers of the real thing.
    fn new(served: &Served) -> Self {
        let files = served.authority.issue(served.home.path().join("bench"), TARGET).expect("a certificate");
        let provider = Arc::new(CryptoProvider { cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256], ..default_provider() });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.authority).expect("the authority")).expect("a root");
        let roots = Arc::new(roots);
        let own = || vec![CertificateDer::from_pem_file(&files.certificate).expect("a certificate")];
        let key = || PrivateKeyDer::from_pem_file(&files.key).expect("a key");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build().expect("a verifier");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(own(), key())
            .expect("a server");
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(own(), key())
            .expect("a client");
        Self { server: Arc::new(server), client: Arc::new(client) }
    }

    async fn pass(&self, bytes: u64) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        let begun = Instant::now();
        let receive = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = acceptor.accept(BufReader::with_capacity(256 << 10, stream)).await.expect("a handshake");
            drain(&mut stream).await
        });
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from(TARGET).expect("a name");
        let mut stream = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await.expect("a handshake");
        stream.get_mut().1.set_buffer_limit(Some(PIECE_BYTES));
        pour(stream, bytes).await;
        assert!(receive.await.expect("received") >= bytes);
        begun.elapsed()
    }
}

async fn pour(mut stream: impl tokio::io::AsyncWrite + Unpin, bytes: u64) {
    let piece = vec![7_u8; PIECE_BYTES];
    for _ in 0..bytes.div_ceil(PIECE_BYTES as u64) {
        stream.write_all(&piece).await.expect("sent");
    }
    stream.shutdown().await.expect("ended");
}

async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> u64 {
    let (mut piece, mut received) = (vec![0; PIECE_BYTES], 0);
    loop {
        match stream.read(&mut piece).await.expect("received") {
            0 => return received,
            bytes => received += bytes as u64,
        }
    }
}
