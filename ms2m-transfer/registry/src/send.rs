//! Into the registry: the layer first, then what makes it visible.

use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{ByteStream, Digest, TransferJob};
use reqwest::StatusCode;
use tokio::time::{Instant, timeout};

use crate::backend::Shared;
use crate::discard::{self, Orphans};
use crate::fault::Fault;
use crate::image::Image;
use crate::pauses::Pauses;
use crate::publish;
use crate::session::{Mounted, Patch, Session};
use crate::source::Source;
use crate::tag::tag;

/// First and smallest piece to try after a 413, in bytes.
const CHUNK_BYTES: u64 = 16 << 20;
const CHUNK_BYTES_MIN: u64 = 1 << 20;
/// For what is to be undone after a failure.
const FAREWELL: Duration = Duration::from_secs(10);

/// One part on its way, with all that must be undone when it does not arrive.
pub(crate) struct Upload<'a> {
    shared: &'a Shared,
    job: &'a TransferJob,
    session: Option<Session>,
    patch: Option<Patch>,
    /// The layer is there, or may be.
    layer: Option<Digest>,
    pauses: Pauses,
}

/// What has arrived.
pub(crate) struct Arrived {
    pub(crate) digest: Digest,
    /// The manifest's.
    pub(crate) image: Digest,
    /// As far as the registry has acknowledged them; those of uploads that it has forgotten included.
    pub(crate) transferred_bytes: u64,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(shared: &'a Shared, job: &'a TransferJob) -> Self {
        let until = Instant::now() + job.deadline;
        Self { shared, job, session: None, patch: None, layer: None, pauses: Pauses::new(until) }
    }

    pub(crate) async fn run(&mut self, body: ByteStream) -> Result<Arrived, Fault> {
        let mut source = Source::new(body, self.job.archive_bytes);
        let transferred_bytes = self.layer(&mut source).await?;
        let digest = source.finish().await?;
        self.layer = Some(digest);
        if let Some(session) = &mut self.session {
            session.finish(digest, &mut self.pauses).await?;
        }
        let image = publish::publish(self.shared, self.job, digest, &mut self.pauses).await?;
        Ok(Arrived { digest, image, transferred_bytes })
    }

    /// Brings all bytes into an upload that only needs its end.
    async fn layer(&mut self, source: &mut Source) -> Result<u64, Fault> {
        self.session = Some(Session::begin(&self.shared.client, &mut self.pauses).await?);
        let (mut at, mut transferred) = (0, 0);
        while at < self.job.archive_bytes {
            let to = match self.shared.chunk_bytes() {
                // From the window, so that the request's length can be kept.
                Some(chunk) => {
                    let to = (at + chunk).min(self.job.archive_bytes);
                    source.keep(chunk);
                    source.fill(to).await?;
                    Some(to)
                }
                None => None,
            };
            match self.attempt(source, at, to).await? {
                Ok(reached) if reached > at && source.holds(reached) => {
                    transferred += reached - at;
                    at = reached;
                    self.pauses.forget();
                }
                Ok(reached) => return Err(Fault::Absurd(format!("of the bytes from {at} on it takes those up to {reached}"))),
                Err(fault) => {
                    let reached = self.resume(fault, to.map_or(0, |to| to - at), source).await?;
                    if reached > at {
                        transferred += reached - at;
                        self.pauses.forget();
                    }
                    at = reached;
                }
            }
        }
        Ok(transferred)
    }

    /// One request. Says how far the registry has come, or why it is to be asked.
    async fn attempt(&mut self, source: &mut Source, from: u64, to: Option<u64>) -> Result<Result<u64, Fault>, Fault> {
        let Some(session) = self.session.take() else { return Err(Fault::Unresumable("there is no upload".into())) };
        // Streamed from its start: its length stays open. Else the registry wants to know which bytes these are.
        let patch = self.patch.insert(session.patch(from, to));
        let end = to.unwrap_or(self.job.archive_bytes);
        let mut at = from;
        while at < end {
            let piece = tokio::select! {
                biased;
                () = patch.ended() => break,
                piece = source.piece(at) => piece?,
            };
            let Some(mut piece) = piece else { break };
            piece.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
            let bytes = piece.len() as u64;
            if !patch.push(piece).await {
                break;
            }
            at += bytes;
        }
        if at == self.job.archive_bytes {
            // Whether the body ends here, while the request can still be ended in good order.
            source.fill(at + 1).await?;
        }
        let (session, answer) = patch.answer().await?;
        self.patch = None;
        self.session = Some(session);
        Ok(answer.map(|taken| taken.unwrap_or(at)))
    }

    /// After a request that went wrong: where to go on.
    async fn resume(&mut self, fault: Fault, chunk: u64, source: &mut Source) -> Result<u64, Fault> {
        let too_large = matches!(fault.status(), Some(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LENGTH_REQUIRED));
        let least = self.session.as_ref().map_or(0, |session| session.chunk_bytes_min).max(CHUNK_BYTES_MIN);
        if too_large && (chunk == 0 || chunk > least) {
            self.shared.set_chunk_bytes(if chunk == 0 { CHUNK_BYTES } else { (chunk / 2).max(least) });
        } else {
            self.pauses.after(fault).await?;
        }
        if let Some(session) = &mut self.session
            && let Some(offset) = session.offset(&mut self.pauses).await?
        {
            if source.holds(offset) {
                return Ok(offset);
            }
            return Err(Fault::Unresumable(format!("it has {offset} bytes, and what follows is not at hand any more")));
        }
        // It has lost the upload. Anew, as long as that can be done from memory.
        if let Some(session) = self.session.take() {
            session.remove().await;
        }
        if !source.holds(0) {
            return Err(Fault::Unresumable("it has forgotten the upload".into()));
        }
        self.session = Some(Session::begin(&self.shared.client, &mut self.pauses).await?);
        Ok(0)
    }

    /// Leaves nothing of this part behind. Best effort, for a while: the caller is told of the failure before this one.
    pub(crate) async fn undo(mut self) {
        let undo = async {
            if let Some(patch) = self.patch.take() {
                patch.remove().await;
            }
            if let Some(session) = self.session.take() {
                session.remove().await;
            }
            if let Some(layer) = self.layer {
                forget(self.shared, self.job, layer).await;
            }
        };
        if timeout(FAREWELL, undo).await.is_err() {
            tracing::warn!(migration = %self.job.migration, "the registry does not let a failed transfer be removed in time");
        }
    }
}

/// Publishes a part whose layer another repository of the registry has; `None` when the registry wants the bytes.
pub(crate) async fn adopt(shared: &Arc<Shared>, job: &TransferJob, digest: Digest, from: &str) -> Result<Option<Digest>, Fault> {
    let mut pauses = Pauses::new(Instant::now() + job.deadline);
    match Session::mount(&shared.client, digest, from, &mut pauses).await? {
        Mounted::Yes => match publish::publish(shared, job, digest, &mut pauses).await {
            Ok(image) => Ok(Some(image)),
            Err(fault) => {
                forget(shared, job, digest).await;
                Err(fault)
            }
        },
        Mounted::No(session) => {
            session.remove().await;
            Ok(None)
        }
    }
}

/// Removes a part that may be there, in whole or in part.
async fn forget(shared: &Shared, job: &TransferJob, layer: Digest) {
    let own = tag(&job.migration, job.part, layer);
    // It always has the same documents.
    let image = Image::new(&job.migration, job.part, layer, job.archive_bytes, &shared.options);
    let orphans = image.ok().map(|image| Orphans { layer, config: Digest::of(&image.config) });
    if let Err(fault) = discard::remove(shared, |found| found == own, orphans).await {
        tracing::warn!(%fault, tag = own, "something of a failed transfer may be left in the registry");
    }
}
