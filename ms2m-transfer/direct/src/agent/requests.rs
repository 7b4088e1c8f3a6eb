//! The plain requests: list, read, discard.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use ms2m_core::{Error, ErrorKind, MigrationId, Part, Result};
use tokio::sync::mpsc;

use super::Agent;
use super::admission::Action;
use super::answer::Refused;
use super::counters::{Gauge, add};
use super::store::{blocking, failed};
use crate::identity::Peer;
use crate::wire::{CALL, PIECE_BYTES, PROTOCOL, Status, Stored, parse_digest, parse_part};

/// Pieces that are read ahead.
const PIECES: usize = 2;

pub(super) struct Named {
    pub(super) migration: MigrationId,
    pub(super) part: Part,
}

/// The peer, whom the listener must have authenticated.
pub(super) fn authenticated(peer: Option<Extension<Peer>>) -> Result<Peer, Refused> {
    let message = "the listener in front of the agent has authenticated nobody";
    peer.map(|Extension(peer)| peer).ok_or_else(|| Error::fatal(ErrorKind::Unauthorized, message).into())
}

pub(super) fn named(peer: Option<Extension<Peer>>, path: &(String, String)) -> Result<(Peer, Named), Refused> {
    let peer = authenticated(peer)?;
    let part = parse_part(&path.1).ok_or_else(|| Error::fatal(ErrorKind::Invalid, "no part is named so").with("part", &path.1))?;
    Ok((peer, Named { migration: MigrationId::new(path.0.as_str())?, part }))
}

pub(super) async fn list(State(agent): State<Agent>, peer: Option<Extension<Peer>>) -> Result<Json<Vec<Stored>>, Refused> {
    let peer = authenticated(peer)?;
    agent.0.admission.admit(&peer, None, Action::List).await?;
    let store = Arc::clone(&agent.0.store);
    Ok(Json(blocking(move || store.list()).await?))
}

pub(super) async fn status(State(agent): State<Agent>, peer: Option<Extension<Peer>>) -> Result<Json<Status>, Refused> {
    let peer = authenticated(peer)?;
    agent.0.admission.admit(&peer, None, Action::List).await?;
    let store = Arc::clone(&agent.0.store);
    let (free_bytes, stored) = blocking(move || Ok((store.free_bytes()?, store.list()?))).await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL.to_owned(),
        ready: agent.is_ready(),
        free_bytes,
        archive_bytes_max: agent.0.store.options().archive_bytes_max,
        parts: stored.len() as u64,
        parts_bytes: stored.iter().map(|stored| stored.archive_bytes).sum(),
        transfers_open: agent.facts().transfers_open,
        transfers_max: agent.0.limits.transfers_max as u64,
        connections_open: agent.facts().connections_open,
    }))
}

pub(super) async fn discard(
    State(agent): State<Agent>,
    peer: Option<Extension<Peer>>,
    Path(migration): Path<String>,
) -> Result<StatusCode, Refused> {
    let peer = authenticated(peer)?;
    let migration = MigrationId::new(migration)?;
    agent.0.admission.admit(&peer, Some(&migration), Action::Discard).await?;
    agent.discard(&migration).await?;
    tracing::info!(%migration, %peer, "discarded");
    Ok(StatusCode::NO_CONTENT)
}

/// A sender gives its own upload up.
pub(super) async fn abandon(
    State(agent): State<Agent>,
    peer: Option<Extension<Peer>>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let (peer, Named { migration, part }) = named(peer, &path)?;
    let call = headers.get(CALL).and_then(|call| call.to_str().ok());
    let call = call.ok_or_else(|| Error::fatal(ErrorKind::Invalid, "the request lacks a header").with("header", CALL))?;
    agent.0.admission.admit(&peer, Some(&migration), Action::Discard).await?;
    agent.0.store.abandon(&migration, part, call).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn read(
    State(agent): State<Agent>,
    peer: Option<Extension<Peer>>,
    Path((migration, part, digest)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (peer, Named { migration, part }) = named(peer, &(migration, part))?;
    let digest = parse_digest(&digest)?;
    agent.0.admission.admit(&peer, Some(&migration), Action::Read { part }).await?;
    let permit = Arc::clone(&agent.0.transfers).try_acquire_owned().map_err(|_| Refused::busy())?;
    let offset_bytes = match headers.get(header::RANGE) {
        None => 0,
        Some(range) => {
            from_offset(range).ok_or_else(|| Error::fatal(ErrorKind::Invalid, "only a range from one byte to the end can be read"))?
        }
    };
    let path = agent.0.store.file(&migration, part, digest);
    let (file, bytes) = blocking(move || {
        let mut file = File::open(&path).map_err(failed("read", &path))?;
        let bytes = file.metadata().map_err(failed("read", &path))?.len();
        file.seek(SeekFrom::Start(offset_bytes)).map_err(failed("read", &path))?;
        Ok((file, bytes))
    })
    .await?;
    let left_bytes = bytes.saturating_sub(offset_bytes);
    let counted = (Gauge::new(agent.clone(), |agent| &agent.0.counters.transfers_open), permit);
    let body = Body::from_stream(pieces(file, agent, counted));
    let status = if offset_bytes == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    Ok((status, [(header::CONTENT_LENGTH, HeaderValue::from(left_bytes))], body).into_response())
}

/// Of `bytes=N-`.
fn from_offset(range: &HeaderValue) -> Option<u64> {
    range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// A thread of its own reads. `counted` lives as long as the stream.
fn pieces<T: Send + 'static>(mut file: File, agent: Agent, counted: T) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece).map(|bytes| {
                piece.truncate(bytes);
                Bytes::from(piece)
            });
            let last = read.as_ref().map_or(true, Bytes::is_empty);
            // Nobody may listen any more. An empty piece is the end.
            if sender.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    stream::poll_fn(move |cx| {
        let _counted = &counted;
        receiver.poll_recv(cx).map(|piece| match piece {
            Some(Ok(piece)) if piece.is_empty() => None,
            Some(Ok(piece)) => {
                add(&agent.0.counters.bytes_sent, piece.len() as u64);
                Some(Ok(piece))
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    })
}
