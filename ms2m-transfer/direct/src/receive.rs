//! Reads at the target what has arrived there.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, header};
use ms2m_core::{ByteStream, Error, ErrorKind, Hasher, Receipt, Result, Verdict};
use tokio::time::{Duration, sleep, timeout};

use crate::connect::Target;
use crate::wire::part_path;

/// How long the agent may send nothing.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// Connections in a row that brought nothing.
const ATTEMPTS_MAX: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// The bytes of a part from `offset_bytes` on. When it is read from its start, its digest is checked at the end.
pub(crate) async fn open(target: Arc<Target>, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
    let hash = (offset_bytes == 0).then(|| receipt.digest.algorithm().hasher());
    let body = Some(connect(&target, receipt, offset_bytes).await?);
    let reading = Reading { target, receipt: receipt.clone(), at: offset_bytes, hash, body, failed: 0 };
    Ok(Box::pin(stream::try_unfold(reading, |mut reading| async { Ok(reading.next().await?.map(|bytes| (bytes, reading))) })))
}

struct Reading {
    target: Arc<Target>,
    receipt: Receipt,
    at: u64,
    hash: Option<Hasher>,
    body: Option<Incoming>,
    failed: u32,
}

async fn connect(target: &Target, receipt: &Receipt, at: u64) -> Result<Incoming> {
    let path = format!("{}/{}", part_path(&receipt.migration, receipt.part), receipt.digest);
    let request = || target.request(Method::GET, &path).header(header::RANGE, format!("bytes={at}-"));
    Ok(target.ask_patiently(request).await?.into_body())
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.piece().await {
                Ok(Some(bytes)) => {
                    self.failed = 0;
                    self.at += bytes.len() as u64;
                    if let Some(hash) = &mut self.hash {
                        hash.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) if self.at >= self.receipt.archive_bytes => return self.end(),
                Ok(None) => Error::retry(ErrorKind::Unavailable, "what the agent sends breaks off"),
                Err(error) => error,
            };
            self.body = None;
            self.failed += 1;
            if error.verdict() != Verdict::Retry || self.failed >= ATTEMPTS_MAX {
                return Err(error.with("agent", self.target.url()));
            }
            // The first time at once: until then it got forward.
            sleep(PAUSE * (self.failed - 1)).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(connect(&self.target, &self.receipt, self.at).await?),
        };
        loop {
            let silent = |_| Error::retry(ErrorKind::Unavailable, "the agent sends nothing any more");
            match timeout(PIECE_WITHIN, body.frame()).await.map_err(silent)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.target.broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        let found = self.hash.take().map(|hash| hash.finalize());
        match found.filter(|found| *found != self.receipt.digest) {
            Some(found) => {
                let message = "the checkpoint has changed at the target; migrate again";
                Err(Error::undo(ErrorKind::Corrupt, message).with("expected", self.receipt.digest).with("found", found))
            }
            None => Ok(None),
        }
    }
}
