//! [`Target`]: the agent of the target node, and requests to it.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use ms2m_core::{Error, ErrorKind, Result, Verdict};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::buffered::Buffered;
use crate::credentials::{Credentials, Reloading};
use crate::tls_error;
use crate::wire::{Problem, TLS_BUFFER_BYTES};

/// For the connection, for the handshake, and for the head of an answer.
const WITHIN: Duration = Duration::from_secs(20);
/// How long the agent may take nothing of what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Of a small request.
const ATTEMPTS_MAX: usize = 6;
/// Of an answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// One connection.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// An agent, as its clients see it.
#[derive(Debug)]
pub(crate) struct Target {
    url: Url,
    peer: ServerName<'static>,
    tls: Reloading<ClientConfig>,
}

/// An error, and how long the agent asks to leave it alone.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
    }
}

impl Target {
    pub(crate) fn new(url: &str, credentials: Credentials) -> Result<Self> {
        let wrong = || Error::fatal(ErrorKind::Invalid, "an agent's address is https://HOST[:PORT]").with("address", url);
        let url = Url::parse(url).map_err(|error| wrong().caused_by(error))?;
        let host = url.host_str().filter(|_| url.scheme() == "https" && url.path() == "/").ok_or_else(wrong)?;
        let peer = peer(host.trim_matches(['[', ']']))?;
        Ok(Self { peer, tls: Reloading::client(credentials), url })
    }

    pub(crate) fn expecting(self, node: &str) -> Result<Self> {
        Ok(Self { peer: peer(node)?, ..self })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header(header::HOST, self.url.authority())
    }

    /// Sends a request on a connection of its own, and returns the answer if it is a good one.
    pub(crate) async fn ask(&self, request: hyper::http::request::Builder) -> Result<Response<Incoming>, Refusal> {
        let invalid = |error| Error::fatal(ErrorKind::Invalid, "the request cannot be made").caused_by(error);
        let request = request.body(Full::default()).map_err(invalid)?;
        let late = |_| Error::retry(ErrorKind::Unavailable, "the agent does not answer").with("agent", &self.url);
        let answered = timeout(WITHIN, async {
            let (mut sender, connection) = self.connect().await?;
            match sender.send_request(request).await {
                Ok(response) => Ok(response),
                // The sender knows only that the connection has ended, the connection why.
                Err(told) => Err(match connection.await {
                    Ok(Err(why)) => self.broken(why),
                    _ => self.broken(told),
                }),
            }
        });
        self.judged(answered.await.map_err(late)??).await
    }

    /// An answer if it is a good one.
    pub(crate) async fn judged(&self, response: Response<Incoming>) -> Result<Response<Incoming>, Refusal> {
        if response.status().is_success() || response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let (status, seconds) = (response.status(), response.headers().get(header::RETRY_AFTER).cloned());
        let retry_after = seconds.and_then(|seconds| seconds.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let told = self.whole(response).await.ok().and_then(|answer| serde_json::from_slice::<Problem>(&answer).ok());
        let error = told.map_or_else(
            || {
                let message = "the answer is not that of an agent of this release: name an agent's address, and use programs of the same release on all nodes";
                Error::undo(ErrorKind::Unsupported, message).with("status", status)
            },
            Error::from,
        );
        Err(Refusal { error: error.with("agent", &self.url), retry_after })
    }

    /// Sends a request that can be repeated, for as long as something is in the way that may pass.
    pub(crate) async fn ask_patiently(&self, request: impl Fn() -> hyper::http::request::Builder) -> Result<Response<Incoming>> {
        let mut pauses = pauses(ATTEMPTS_MAX);
        loop {
            let refusal = match self.ask(request()).await {
                Ok(response) => return Ok(response),
                Err(refusal) => refusal,
            };
            match pauses.next() {
                Some(pause) if refusal.error.verdict() == Verdict::Retry => {
                    sleep(pause.max(refusal.retry_after.unwrap_or_default())).await;
                }
                _ => return Err(refusal.error),
            }
        }
    }

    /// All of a small answer.
    pub(crate) async fn whole(&self, response: Response<Incoming>) -> Result<Bytes> {
        let late = |_| Error::retry(ErrorKind::Unavailable, "the agent does not end its answer").with("agent", &self.url);
        let read = timeout(WITHIN, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect()).await.map_err(late)?;
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            let error = if error.is::<LengthLimitError>() {
                let message = "the agent's answer is longer than is read here; discard at the agent what is not needed any more";
                Error::undo(ErrorKind::LimitExceeded, message).with("bytes_max", ANSWER_BYTES_MAX)
            } else {
                Error::retry(ErrorKind::Unavailable, "the agent's answer breaks off").caused_by(error)
            };
            error.with("agent", &self.url)
        };
        Ok(read.map_err(broken)?.to_bytes())
    }

    pub(crate) async fn connect(&self) -> Result<(Sender, JoinHandle<hyper::Result<()>>)> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(443);
        let unreachable = |error| {
            let message = "the agent cannot be reached; does it run there, and does the network let this node through?";
            Error::retry(ErrorKind::Unavailable, message).with("agent", &self.url).caused_by(error)
        };
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        let config = self.tls.current()?;
        let connecting = TlsConnector::from(config).connect(self.peer.clone(), Buffered::new(stream, TAKEN_WITHIN));
        let mut stream = connecting.await.map_err(|error| self.broken(error))?;
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        // Ends with the sender and the answer, or when it is upgraded.
        Ok((sender, tokio::spawn(connection.with_upgrades())))
    }

    pub(crate) fn broken(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        tls_error::connection(error).with("agent", &self.url).with("expected", self.peer.to_str())
    }
}

/// Pauses between so many attempts, growing.
pub(crate) fn pauses(attempts_max: usize) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(attempts_max.saturating_sub(1))
        .with_jitter()
        .build()
}

fn peer(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|error| {
        let message = "an agent is expected by the name of its node, a DNS name, or by its address";
        Error::fatal(ErrorKind::Invalid, message).with("expected", name).caused_by(error)
    })
}
