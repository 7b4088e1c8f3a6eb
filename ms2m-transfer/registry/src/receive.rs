//! Out of the registry: a thread of its own digests; a connection that breaks is made again where it broke.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, Receipt, Result};
use reqwest::header::{ACCEPT, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::auth::Action;
use crate::backend::Shared;
use crate::client::limited;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::{MANIFEST, MANIFEST_BYTES_MAX, blobs};
use crate::pauses::Pauses;
use crate::tag::tag;

const PIECE_BYTES: usize = 512 << 10;
/// Silence after which a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a registry may be away in the middle.
const OUTAGE: Duration = Duration::from_secs(60);

/// The bytes of a part from `offset_bytes` on. When it is read from its start, its digest is checked before its last bytes are handed out.
pub(crate) async fn open(shared: &Arc<Shared>, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream, Fault> {
    find(shared, receipt).await?;
    let mut reading = Reading {
        shared: Arc::clone(shared),
        url: shared.client.url(&format!("blobs/{}", receipt.digest))?,
        digest: receipt.digest,
        hash: (offset_bytes == 0).then(Hash::new),
        at: offset_bytes,
        end: receipt.archive_bytes,
        skip: 0,
        response: None,
    };
    if reading.at < reading.end {
        reading.connect().await?;
    }
    let stream = stream::try_unfold(Some(reading), |reading| async move {
        let Some(mut reading) = reading else { return Ok(None) };
        match reading.piece().await {
            Ok(piece) if piece.is_empty() => Ok(None),
            Ok(piece) => Ok(Some((piece, Some(reading)))),
            Err(fault) => Err(fault.told(reading.shared.client.name())),
        }
    });
    Ok(Box::pin(stream))
}

/// Whether the part has arrived: what has no manifest is not there.
async fn find(shared: &Shared, receipt: &Receipt) -> Result<(), Fault> {
    let url = shared.client.url(&format!("manifests/{}", tag(&receipt.migration, receipt.part, receipt.digest)))?;
    let wanted = (&[StatusCode::OK, StatusCode::NOT_FOUND][..], &mut Pauses::new(Instant::now() + OUTAGE));
    let with = |request: reqwest::RequestBuilder| request.header(ACCEPT, MANIFEST);
    let response = shared.client.patient(Action::Pull, Method::GET, &url, wanted, with).await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(missing());
    }
    let (_, layers) = blobs(&limited(response, MANIFEST_BYTES_MAX).await?)?;
    if layers == [receipt.digest] { Ok(()) } else { Err(missing()) }
}

fn missing() -> Fault {
    Fault::Ours(Error::undo(ErrorKind::NotFound, "there is no such part of a checkpoint in the registry"))
}

struct Reading {
    shared: Arc<Shared>,
    url: Url,
    digest: Digest,
    /// Only of what is read from its start.
    hash: Option<Hash>,
    at: u64,
    end: u64,
    /// Bytes of the response that are not wanted.
    skip: u64,
    response: Option<Response>,
}

impl Reading {
    /// Asks for what is missing.
    async fn connect(&mut self) -> Result<(), Fault> {
        let mut pauses = Pauses::new(Instant::now() + OUTAGE);
        let client = &self.shared.client;
        self.response = loop {
            let range = |request: reqwest::RequestBuilder| request.header(RANGE, format!("bytes={}-", self.at));
            let answer = async {
                let mut response = client.streamed(Action::Pull, Method::GET, &self.url, range).await?;
                if response.status() == StatusCode::UNAUTHORIZED {
                    client.identify(Action::Pull, &response).await?;
                    response = client.streamed(Action::Pull, Method::GET, &self.url, range).await?;
                }
                Ok(response)
            };
            let fault = match timeout(SILENCE, answer).await.map_err(|_| Fault::TimedOut).flatten() {
                Ok(response)
                    if response.status() == StatusCode::PARTIAL_CONTENT || (response.status() == StatusCode::OK && self.at == 0) =>
                {
                    break Some(response);
                }
                // Whoever does not know ranges sends all of it.
                Ok(response) if response.status() == StatusCode::OK => {
                    self.skip = self.at;
                    break Some(response);
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND => return Err(missing()),
                Ok(response) => Fault::of(response).await,
                Err(fault) => fault,
            };
            pauses.after(fault).await?;
        };
        Ok(())
    }

    /// The next piece; empty at the end.
    async fn piece(&mut self) -> Result<Bytes, Fault> {
        let mut gathered = BytesMut::with_capacity(PIECE_BYTES);
        let mut pauses = Pauses::new(Instant::now() + OUTAGE);
        let mut reached = self.at;
        while gathered.len() < PIECE_BYTES && self.at < self.end {
            let Some(response) = &mut self.response else {
                self.connect().await?;
                continue;
            };
            let fault = match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(mut bytes))) => {
                    let skipped = self.skip.min(bytes.len() as u64);
                    self.skip -= skipped;
                    bytes.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
                    self.at += bytes.len() as u64;
                    if self.at > self.end {
                        return Err(Fault::Corrupt { expected: self.digest, found: format!("more than {} bytes", self.end) });
                    }
                    gathered.extend_from_slice(&bytes);
                    continue;
                }
                Ok(Ok(None)) => Fault::Lost("it broke off".into()),
                Ok(Err(error)) => Fault::from(error),
                Err(_) => Fault::TimedOut,
            };
            self.response = None;
            // Broken again at once, or never beyond what is to be skipped.
            if reached == self.at {
                pauses.after(fault).await?;
            }
            reached = self.at;
        }
        let piece = gathered.freeze();
        let Some(hash) = &self.hash else { return Ok(piece) };
        hash.room().await?.send(piece.clone());
        if self.at == self.end
            && let Some(hash) = self.hash.take()
        {
            let found = hash.finish().await?;
            if found != self.digest {
                return Err(Fault::Corrupt { expected: self.digest, found: found.to_string() });
            }
        }
        Ok(piece)
    }
}
