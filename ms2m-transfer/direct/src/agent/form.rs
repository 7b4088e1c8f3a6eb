//! `POST /checkpoint`: an upload as a form, for whoever has nothing but an HTTP client.
//!
//! Fields: `checkpoint`, the archive; `containerName`, under which it is kept as a migration of this name. Their order is free. The headers
//! `ms2m-digest` and `ms2m-archive-bytes` are checked when they are there. It cannot be gone on with after a cut: whatever breaks off
//! leaves nothing.

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind, MigrationId, Part, Result};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Agent;
use super::admission::Action;
use super::answer::Refused;
use super::counters::{Gauge, add};
use super::requests::authenticated;
use super::store::{Incomplete, blocking};
use crate::identity::Peer;
use crate::wire::{ARCHIVE_BYTES, DIGEST, Stored, parse_digest};

const NAME_BYTES_MAX: usize = 256;
/// Pieces between socket and disk; they are of whatever size the connection reads, 512 KiB at most.
const PIECES: usize = 8;

pub(super) async fn upload(
    State(agent): State<Agent>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<Stored>), Refused> {
    let peer = authenticated(peer)?;
    if !agent.is_ready() {
        return Err(Refused::ending());
    }
    let mut form =
        form.map_err(|error| Error::fatal(ErrorKind::Invalid, "the checkpoint must come as multipart/form-data").caused_by(error))?;
    let number = |name: &str| headers.get(name).and_then(|bytes| bytes.to_str().ok()).and_then(|bytes| bytes.parse::<u64>().ok());
    let announced_bytes = number(ARCHIVE_BYTES);
    // The form is a little larger than what is in it.
    let form_bytes = announced_bytes.or_else(|| number(header::CONTENT_LENGTH.as_str()));
    let expected = headers.get(DIGEST).and_then(|digest| digest.to_str().ok()).map(parse_digest).transpose()?;
    let algorithm = expected.as_ref().map_or(DigestAlgorithm::Sha256, Digest::algorithm);
    agent.0.store.check_size(form_bytes.unwrap_or(0))?;
    let _permit = Arc::clone(&agent.0.transfers).try_acquire_owned().map_err(|_| Refused::busy())?;
    let _counted = (Gauge::new(agent.clone(), |agent| &agent.0.counters.transfers_open), agent.0.uploads.token());

    let (mut migration, mut archive) = (None, None);
    while let Some(field) = within(&agent, form.next_field()).await? {
        match field.name() {
            Some("containerName") => {
                let name = MigrationId::new(text(&agent, field).await?)?;
                migration = Some(name);
            }
            Some("checkpoint") if archive.is_none() => {
                let ask = match &migration {
                    Some(_) => Action::Send { part: Part::Final, archive_bytes: form_bytes },
                    None => Action::SendUnnamed { archive_bytes: form_bytes },
                };
                agent.0.admission.admit(&peer, migration.as_ref(), ask).await?;
                let store = Arc::clone(&agent.0.store);
                let unnamed = Unnamed(Some(blocking(move || store.unnamed(form_bytes, algorithm)).await?));
                archive = Some((fill(&agent, field, unnamed).await?, migration.is_some()));
            }
            _ => return Err(Error::fatal(ErrorKind::Invalid, "the form has fields besides one checkpoint and containerName").into()),
        }
    }
    let (Some(migration), Some((mut unnamed, asked))) = (migration, archive) else {
        return Err(Error::fatal(ErrorKind::Invalid, "the form must have the fields checkpoint and containerName").into());
    };
    let bytes = unnamed.bytes();
    if announced_bytes.is_some_and(|announced| announced != bytes) {
        let message = "the checkpoint has another size than was announced; send it again";
        return Err(Error::undo(ErrorKind::Corrupt, message).with("bytes", bytes).into());
    }
    if !asked {
        agent.0.admission.admit(&peer, Some(&migration), Action::Send { part: Part::Final, archive_bytes: Some(bytes) }).await?;
    }
    let store = Arc::clone(&agent.0.store);
    let published = blocking(move || {
        let incomplete = unnamed.take();
        let digest = incomplete.check(expected).inspect_err(|_| incomplete.remove())?;
        store.publish(&migration, Part::Final, digest, incomplete)
    });
    let published = published.await.inspect_err(|_| add(&agent.0.counters.uploads_failed, 1))?;
    let stored = agent.arrived(published).await.inspect_err(|_| add(&agent.0.counters.uploads_failed, 1))?;
    add(&agent.0.counters.uploads_done, 1);
    tracing::info!(migration = %stored.migration, digest = %stored.digest, bytes, "a checkpoint has arrived as a form");
    Ok((StatusCode::CREATED, Json(stored)))
}

/// Removed unless it is taken.
struct Unnamed(Option<Incomplete>);

impl Unnamed {
    fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, Incomplete::bytes)
    }

    fn take(&mut self) -> Incomplete {
        self.0.take().unwrap_or_else(|| unreachable!("it is taken once"))
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(incomplete) = &self.0 {
            incomplete.remove();
        }
    }
}

/// Writes a field to the disk, in a thread of its own.
async fn fill(agent: &Agent, mut field: Field<'_>, mut unnamed: Unnamed) -> Result<Unnamed> {
    let (sender, mut pieces) = mpsc::channel::<bytes::Bytes>(PIECES);
    let store = Arc::clone(&agent.0.store);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            let Some(incomplete) = &mut unnamed.0 else { break };
            store.check_size(incomplete.bytes() + piece.len() as u64)?;
            incomplete.write(&piece)?;
        }
        if let Some(incomplete) = &mut unnamed.0 {
            incomplete.end();
        }
        Ok::<_, Error>(unnamed)
    });
    let mut read = Ok(());
    loop {
        let piece = tokio::select! {
            piece = within(agent, field.chunk()) => piece,
            () = agent.0.ended.cancelled() => Err(Error::retry(ErrorKind::Unavailable, "the agent is ending; try again when it is back")),
        };
        match piece {
            Ok(Some(piece)) => {
                add(&agent.0.counters.bytes_received, piece.len() as u64);
                // A writer that has gone says why below.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                read = Err(error);
                break;
            }
        }
    }
    drop(sender);
    let written = writer.await.map_err(|error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error))??;
    read.map(|()| written)
}

async fn text(agent: &Agent, mut field: Field<'_>) -> Result<String> {
    let mut text = Vec::new();
    while let Some(piece) = within(agent, field.chunk()).await? {
        text.extend_from_slice(&piece);
        if text.len() > NAME_BYTES_MAX {
            return Err(Error::fatal(ErrorKind::Invalid, "the container's name is too long"));
        }
    }
    String::from_utf8(text).map_err(|error| Error::fatal(ErrorKind::Invalid, "the container's name is no text").caused_by(error))
}

async fn within<R>(agent: &Agent, read: impl Future<Output = Result<R, MultipartError>>) -> Result<R> {
    match timeout(agent.0.limits.piece_within, read).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => {
            let message = "the form breaks off or is malformed; nothing of it is kept, send it again";
            Err(Error::retry(ErrorKind::Invalid, message).caused_by(error))
        }
        Err(_) => Err(Error::retry(ErrorKind::Timeout, "the client sends too slowly; nothing of the form is kept, send it again")),
    }
}
