//! An upload at the registry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use ms2m_core::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::auth::Action;
use crate::client::Client;
use crate::fault::Fault;
use crate::pauses::Pauses;

const DIGEST: &str = "docker-content-digest";
const CHUNK_BYTES_MIN: &str = "oci-chunk-min-length";
/// For what is done about an upload that nobody wants any more.
const FAREWELL: Duration = Duration::from_secs(2);
/// For a registry that reads a large blob once more before it takes it.
const VERIFYING: Duration = Duration::from_secs(600);
/// Pieces between reader and network.
const PIECES: usize = 2;

/// An upload that has begun. Dropped, it is removed at the registry; a registry that fails to removes it by itself some day.
#[derive(Debug)]
pub(crate) struct Session {
    client: Arc<Client>,
    location: Option<Url>,
    /// Smallest piece that the registry takes, other than the last.
    pub(crate) chunk_bytes_min: u64,
}

/// What became of an attempt to mount.
#[derive(Debug)]
pub(crate) enum Mounted {
    Yes,
    /// The registry would rather have the bytes.
    No(Session),
}

impl Session {
    pub(crate) async fn begin(client: &Arc<Client>, pauses: &mut Pauses) -> Result<Self, Fault> {
        let url = client.url("blobs/uploads/")?;
        let wanted = (&[StatusCode::ACCEPTED][..], pauses);
        let response = client.patient(Action::Push, Method::POST, &url, wanted, |request| request.header(CONTENT_LENGTH, 0)).await?;
        Self::begun(client, &response)
    }

    /// Takes a blob over that the registry has in another repository.
    pub(crate) async fn mount(client: &Arc<Client>, digest: Digest, from: &str, pauses: &mut Pauses) -> Result<Mounted, Fault> {
        let mut url = client.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let wanted = (&[StatusCode::CREATED, StatusCode::ACCEPTED][..], pauses);
        let response = client.patient(Action::Push, Method::POST, &url, wanted, |request| request.header(CONTENT_LENGTH, 0)).await?;
        Ok(if response.status() == StatusCode::CREATED { Mounted::Yes } else { Mounted::No(Self::begun(client, &response)?) })
    }

    fn begun(client: &Arc<Client>, response: &Response) -> Result<Self, Fault> {
        let chunk_bytes_min = response.headers().get(CHUNK_BYTES_MIN).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut session = Self { client: Arc::clone(client), location: None, chunk_bytes_min: chunk_bytes_min.unwrap_or(0) };
        session.moved(response)?;
        if session.location.is_none() {
            return Err(Fault::Absurd("it begins an upload and does not say where".into()));
        }
        Ok(session)
    }

    /// The place of an upload changes with every answer.
    fn moved(&mut self, response: &Response) -> Result<(), Fault> {
        if let Some(location) = response.headers().get(LOCATION) {
            let text = location.to_str().map_err(|_| Fault::Absurd("a place that is no URL".into()))?;
            self.location = Some(response.url().join(text).map_err(|error| Fault::Absurd(format!("a place that is no URL: {error}")))?);
        }
        Ok(())
    }

    fn location(&self) -> Result<&Url, Fault> {
        self.location.as_ref().ok_or_else(|| Fault::Unresumable("the upload is over".into()))
    }

    /// How many bytes the registry has; `None` when it has forgotten the upload or does not say.
    pub(crate) async fn offset(&mut self, pauses: &mut Pauses) -> Result<Option<u64>, Fault> {
        let url = self.location()?.clone();
        let wanted = (&[StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED][..], pauses);
        match self.client.patient(Action::Push, Method::GET, &url, wanted, |request| request).await {
            Ok(response) => {
                self.moved(&response)?;
                Ok(taken(response.headers()))
            }
            Err(Fault::Refused { status, .. }) if status.is_client_error() && status != StatusCode::UNAUTHORIZED => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Begins to send what is put into the returned [`Patch`].
    ///
    /// Without `bytes` the length is open. So the body can end early in good order, and the registry still knows the upload when it is to be
    /// removed; one whose body breaks off is removed by no registry before its own clean-up.
    pub(crate) fn patch(self, from: u64, to: Option<u64>) -> Patch {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(PIECES);
        let (owner, mut orphaned) = oneshot::channel::<()>();
        let (ended, runs) = mpsc::channel::<()>(1);
        let body = stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
        let task = tokio::spawn(async move {
            let _runs = runs;
            let mut session = self;
            let orphaned = async {
                let _ = (&mut orphaned).await;
                sleep(FAREWELL).await;
            };
            let sent = tokio::select! {
                sent = session.send(body, from, to) => sent,
                () = orphaned => Err(Fault::TimedOut),
            };
            (session, sent)
        });
        Patch { sender: Some(sender), ended, task, _owner: owner }
    }

    async fn send(&mut self, body: BoxStream<'static, Bytes>, from: u64, to: Option<u64>) -> Result<Option<u64>, Fault> {
        let url = self.location()?.clone();
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))]);
        if let Some(to) = to {
            let range = format!("{from}-{}", to.saturating_sub(1));
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|error| Fault::Absurd(error.to_string()))?);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
        }
        let body = Body::wrap_stream(body.map(Ok::<_, std::convert::Infallible>));
        let response = self.client.streamed(Action::Push, Method::PATCH, &url, |request| request.headers(headers).body(body)).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {
                self.moved(&response)?;
                Ok(taken(response.headers()))
            }
            StatusCode::UNAUTHORIZED => {
                self.client.identify(Action::Push, &response).await?;
                // Begins again where it stands, with what was found.
                Err(Fault::Lost("the token has expired".into()))
            }
            _ => Err(Fault::of(response).await),
        }
    }

    /// Ends the upload: from now on the registry has the blob.
    pub(crate) async fn finish(&mut self, digest: Digest, pauses: &mut Pauses) -> Result<(), Fault> {
        let mut url = self.location()?.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        loop {
            let put =
                self.client.once(Action::Push, Method::PUT, &url, |request| request.header(CONTENT_LENGTH, 0).timeout(VERIFYING)).await;
            let fault = match put {
                Ok(response) if matches!(response.status(), StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK) => {
                    self.location = None;
                    return same(response.headers(), digest);
                }
                Ok(response) => Fault::of(response).await,
                Err(fault) => fault,
            };
            // What came of it, when the answer was lost: the upload is over then.
            match fault.status() {
                Some(StatusCode::BAD_REQUEST) => return Err(Fault::Corrupt { expected: digest, found: fault.to_string() }),
                Some(StatusCode::NOT_FOUND) | None if exists(&self.client, digest).await => {
                    self.location = None;
                    return Ok(());
                }
                _ => pauses.after(fault).await?,
            }
        }
    }

    /// Sends a whole blob and ends the upload.
    pub(crate) async fn put(mut self, blob: &Bytes, digest: Digest) -> Result<(), Fault> {
        let mut url = self.location()?.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let with = |request: RequestBuilder| request.header(CONTENT_TYPE, "application/octet-stream").body(blob.clone());
        let response = self.client.once(Action::Push, Method::PUT, &url, with).await?;
        if !response.status().is_success() {
            return Err(Fault::of(response).await);
        }
        self.location = None;
        same(response.headers(), digest)
    }

    /// Removes the upload. Best effort, for a while.
    pub(crate) async fn remove(mut self) {
        if let Some(location) = self.location.take() {
            remove(Arc::clone(&self.client), location).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(location), Ok(runtime)) = (self.location.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(remove(Arc::clone(&self.client), location));
        }
    }
}

async fn remove(client: Arc<Client>, location: Url) {
    let mut pauses = Pauses::new(Instant::now() + FAREWELL);
    let wanted = [StatusCode::NO_CONTENT, StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NOT_FOUND];
    let removing = client.patient(Action::Push, Method::DELETE, &location, (&wanted, &mut pauses), |request| request);
    if !matches!(timeout(FAREWELL, removing).await, Ok(Ok(_))) {
        tracing::debug!("an unfinished upload is left to the registry's own clean-up");
    }
}

/// Whether the repository has a blob, as far as can be learned.
pub(crate) async fn exists(client: &Client, digest: Digest) -> bool {
    let Ok(url) = client.url(&format!("blobs/{digest}")) else { return false };
    let response = client.once(Action::Pull, Method::HEAD, &url, |request| request).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// Whether the registry names the digest that it should, if it names any.
pub(crate) fn same(headers: &HeaderMap, expected: Digest) -> Result<(), Fault> {
    match headers.get(DIGEST).and_then(|value| value.to_str().ok()) {
        Some(found) if found.parse::<Digest>().is_ok_and(|found| found != expected) => {
            Err(Fault::Corrupt { expected, found: found.to_owned() })
        }
        _ => Ok(()),
    }
}

/// `Range: 0-N`, N being the last byte. `0-0` may also mean none.
fn taken(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = text.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    (last > 0).then_some(last + 1)
}

/// A request body on its way.
#[derive(Debug)]
pub(crate) struct Patch {
    sender: Option<mpsc::Sender<Bytes>>,
    ended: mpsc::Sender<()>,
    task: JoinHandle<(Session, Result<Option<u64>, Fault>)>,
    /// Dropped with this: the task then has a little time left to end in good order.
    _owner: oneshot::Sender<()>,
}

impl Patch {
    /// Sends a piece, unless the request has ended. Dropping the future sends nothing.
    pub(crate) async fn push(&self, piece: Bytes) -> bool {
        let Some(sender) = &self.sender else { return false };
        tokio::select! {
            () = self.ended() => false,
            room = sender.reserve() => room.map(|room| room.send(piece)).is_ok(),
        }
    }

    /// When the request has ended by itself, be it before its body.
    pub(crate) async fn ended(&self) {
        self.ended.closed().await;
    }

    /// Nothing more comes; waits for the answer, which tells how much the registry has, if it says.
    pub(crate) async fn answer(&mut self) -> Result<(Session, Result<Option<u64>, Fault>), Fault> {
        self.sender = None;
        (&mut self.task).await.map_err(|error| Fault::Lost(error.to_string()))
    }

    /// Ends it in good order and removes the upload. Best effort, for a while.
    pub(crate) async fn remove(mut self) {
        if let Ok(Ok((session, _))) = timeout(FAREWELL, self.answer()).await {
            session.remove().await;
        }
    }
}
