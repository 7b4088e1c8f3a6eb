//! An upload over an upgraded connection: announced, admitted, taken, checked, made visible.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ms2m_core::{Digest, Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::Agent;
use super::admission::Action;
use super::answer::Refused;
use super::counters::{Gauge, add};
use super::requests::{Named, named};
use super::store::{Call, Incomplete, Lease, Published, blocking};
use crate::identity::Peer;
use crate::wire::{ARCHIVE_BYTES, ATTEMPT, CALL, DIGEST, DIGEST_OF_UPLOADS, PIECE_BYTES, PROTOCOL, Word, parse_digest, say};

/// Pieces between socket and disk.
const PIECES: usize = 4;
/// How often a client that waits hears that it does not wait in vain.
const WORKING_EVERY: Duration = Duration::from_secs(5);
/// How long the last word may take.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn upload(
    State(agent): State<Agent>,
    peer: Option<Extension<Peer>>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    mut request: Request,
) -> Result<Response, Refused> {
    let (peer, Named { migration, part }) = named(peer, &path)?;
    if !agent.is_ready() {
        return Err(Refused::ending());
    }
    let announced = Announced::of(&headers)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(|| {
        let message = "an upload needs a connection that can be upgraded: the server in front of the agent must let it";
        Error::fatal(ErrorKind::Invalid, message)
    })?;
    let Announced { archive_bytes, call, digest } = announced;
    agent.0.store.check_size(archive_bytes)?;
    let action = Action::Send { part, archive_bytes: Some(archive_bytes) };
    agent.0.admission.admit(&peer, Some(&migration), action).await?;
    if let Some(digest) = digest {
        // Its last connection was lost behind the last byte.
        let store = Arc::clone(&agent.0.store);
        let found = {
            let migration = migration.clone();
            blocking(move || store.find(&migration, part, digest)).await?
        };
        if let Some(stored) = found {
            // The agent may have ended before it had done everything with it.
            return Ok(Json(agent.arrived(Published { stored, former: Vec::new() }).await?).into_response());
        }
    }
    let mut lease = agent.0.store.lease(&migration, part, &call).await?;
    let permit = Arc::clone(&agent.0.transfers).try_acquire_owned().map_err(|_| Refused::busy())?;
    let incomplete = lease.open(archive_bytes).await?;
    let tracked = agent.0.uploads.token();
    let session = agent.clone();
    tokio::spawn(async move {
        let _counted = (Gauge::new(session.clone(), |agent| &agent.0.counters.transfers_open), permit, tracked);
        match timeout(session.0.limits.head_within, upgrade).await {
            Ok(Ok(connection)) => Session { agent: session, lease, call }.run(TokioIo::new(connection), incomplete).await,
            _ => lease.keep(incomplete),
        }
    });
    let headers = [(header::CONNECTION, HeaderValue::from_static("upgrade")), (header::UPGRADE, HeaderValue::from_static(PROTOCOL))];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// What a client says of an upload in advance.
struct Announced {
    archive_bytes: u64,
    call: Call,
    digest: Option<Digest>,
}

impl Announced {
    fn of(headers: &HeaderMap) -> Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let malformed =
            |name: &'static str| Error::fatal(ErrorKind::Invalid, "the request lacks a header, or it is malformed").with("header", name);
        if text(header::UPGRADE.as_str()) != Some(PROTOCOL) {
            let message = "the agent speaks another version of the protocol; use programs of the same release on all nodes";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("agent", PROTOCOL));
        }
        let archive_bytes = text(ARCHIVE_BYTES).and_then(|bytes| bytes.parse().ok()).ok_or_else(|| malformed(ARCHIVE_BYTES))?;
        let name = text(CALL).filter(|name| !name.is_empty() && name.len() <= 64).ok_or_else(|| malformed(CALL))?;
        let digest = text(DIGEST).map(parse_digest).transpose()?;
        let attempt = text(ATTEMPT).map_or(Ok(0), str::parse).map_err(|_| malformed(ATTEMPT))?;
        Ok(Self { archive_bytes, call: Call { name: name.to_owned(), attempt }, digest })
    }
}

type Connection = TokioIo<Upgraded>;

struct Session {
    agent: Agent,
    lease: Lease,
    call: Call,
}

/// How a connection has ended.
enum End {
    /// All bytes and their digest are there.
    Whole(Incomplete, Digest),
    /// The next connection can go on.
    Broken(Incomplete, Error),
    /// No use in going on.
    Failed(Error),
}

impl Session {
    async fn run(self, connection: Connection, incomplete: Incomplete) {
        let (mut from, mut to) = tokio::io::split(connection);
        let (stop, ended) = (self.lease.stop.clone(), self.agent.0.ended.clone());
        let counters = &self.agent.0.counters;
        let end = self.take(&mut from, &mut to, incomplete, async {
            tokio::select! {
                () = stop.cancelled() => Error::undo(ErrorKind::AlreadyExists, "a later call sends this part now; this one has ended"),
                () = ended.cancelled() => Error::retry(ErrorKind::Unavailable, "the agent is ending; try again when it is back"),
            }
        });
        let result = match end.await {
            End::Whole(incomplete, digest) => {
                let agent = self.agent.clone();
                let published = async move { agent.arrived(self.lease.publish(incomplete, digest).await?).await };
                tokio::pin!(published);
                loop {
                    tokio::select! {
                        published = &mut published => break published,
                        // A client that has gone asks again, and finds it.
                        () = sleep(WORKING_EVERY) => { let _ = say(&mut to, &Word::Working).await; }
                    }
                }
            }
            End::Broken(incomplete, error) => {
                add(&counters.uploads_broken, 1);
                tracing::info!(call = %self.call.name, held_bytes = incomplete.bytes(), %error, "an upload has broken off");
                self.lease.keep(incomplete);
                finish(from, to, &Word::Failed((&error).into())).await;
                return;
            }
            End::Failed(error) => match self.lease.remove().await {
                Ok(()) => Err(error),
                Err(left) => Err(left),
            },
        };
        let word = match result {
            Ok(stored) => {
                add(&counters.uploads_done, 1);
                tracing::info!(migration = %stored.migration, part = %stored.part, digest = %stored.digest, bytes = stored.archive_bytes, "a part has arrived");
                Word::Done(stored)
            }
            Err(error) => {
                add(&counters.uploads_failed, 1);
                tracing::warn!(call = %self.call.name, %error, "an upload has failed");
                Word::Failed((&error).into())
            }
        };
        finish(from, to, &word).await;
    }

    /// Takes what is missing, until everything is there or something goes wrong.
    async fn take(
        &self,
        from: &mut ReadHalf<Connection>,
        to: &mut WriteHalf<Connection>,
        mut incomplete: Incomplete,
        stopped: impl Future<Output = Error>,
    ) -> End {
        let within = self.agent.0.limits.piece_within;
        let greeted = timeout(within, async {
            for (bytes, digest) in incomplete.marks() {
                say(to, &Word::Mark { bytes, digest }).await?;
            }
            say(to, &Word::Go).await?;
            from.read_u64().await
        });
        let start = match greeted.await {
            Ok(Ok(start)) => start,
            Ok(Err(error)) => return End::Broken(incomplete, broken(error)),
            Err(_) => return End::Broken(incomplete, slow()),
        };
        let went_back = blocking(move || {
            let went = incomplete.back_to(start);
            Ok((incomplete, went))
        });
        let mut incomplete = match went_back.await {
            Ok((incomplete, Ok(()))) => incomplete,
            Ok((_, Err(error))) | Err(error) => return End::Failed(error),
        };
        if start > 0 {
            add(&self.agent.0.counters.uploads_resumed, 1);
        }
        let left_bytes = incomplete.archive_bytes() - start;
        let (full, mut filled) = mpsc::channel::<Vec<u8>>(PIECES);
        let (empty, mut emptied) = mpsc::channel::<(Vec<u8>, u64)>(PIECES);
        for _ in 0..PIECES {
            // There is room for all of them.
            let _ = empty.try_send((Vec::new(), 0));
        }
        // Digests and writes. Buffers go round: fresh memory of this size costs more than the copy into it.
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(mut piece) = filled.blocking_recv() {
                if let Err(error) = incomplete.write(&piece) {
                    return (incomplete, Err(error));
                }
                piece.clear();
                // The reader may have gone; what it has read before is written nevertheless.
                let _ = empty.blocking_send((piece, incomplete.bytes()));
            }
            (incomplete, Ok(()))
        });
        let read = async {
            let mut left_bytes = left_bytes;
            while left_bytes > 0 {
                // Nothing comes from a writer that has failed.
                let Some((mut piece, held_bytes)) = emptied.recv().await else { return Ok(None) };
                if held_bytes > 0 {
                    say(to, &Word::Held { bytes: held_bytes }).await.map_err(broken)?;
                }
                let size = left_bytes.min(PIECE_BYTES as u64);
                piece.reserve_exact(PIECE_BYTES);
                let deadline = Instant::now() + within;
                let mut error = None;
                while (piece.len() as u64) < size && error.is_none() {
                    let missing = size - piece.len() as u64;
                    let mut limited = (&mut *from).take(missing);
                    match timeout_at(deadline, limited.read_buf(&mut piece)).await {
                        Ok(Ok(0)) => error = Some(broken(std::io::ErrorKind::UnexpectedEof.into())),
                        Ok(Ok(_)) => {}
                        Ok(Err(io)) => error = Some(broken(io)),
                        Err(_) => error = Some(slow()),
                    }
                }
                left_bytes -= piece.len() as u64;
                add(&self.agent.0.counters.bytes_received, piece.len() as u64);
                if full.send(piece).await.is_err() {
                    return Ok(None);
                }
                if let Some(error) = error {
                    return Err(error);
                }
            }
            let mut digest = [0; 32];
            timeout(within, from.read_exact(&mut digest)).await.map_err(|_| slow())?.map_err(broken)?;
            Ok(Some(Digest::new(DIGEST_OF_UPLOADS, digest)))
        };
        let read = tokio::select! {
            read = read => read,
            error = stopped => Err(error),
        };
        drop(full);
        match (writer.await, read) {
            (Err(died), _) => End::Failed(Error::undo(ErrorKind::Other, "a thread has died").caused_by(died)),
            (Ok((_, Err(error))), _) => End::Failed(error),
            (Ok((incomplete, Ok(()))), Ok(Some(digest))) => End::Whole(incomplete, digest),
            (Ok((incomplete, Ok(()))), Ok(None)) => End::Broken(incomplete, broken(std::io::ErrorKind::Other.into())),
            (Ok((incomplete, Ok(()))), Err(error)) => End::Broken(incomplete, error),
        }
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::retry(ErrorKind::Unavailable, "the client's connection has broken off").caused_by(error)
}

fn slow() -> Error {
    Error::retry(ErrorKind::Timeout, "the client sends too slowly; it can go on where it was")
}

/// Says the last word, and waits until it was heard: to close with unread bytes would take it back.
async fn finish(mut from: ReadHalf<Connection>, mut to: WriteHalf<Connection>, word: &Word) {
    let said = async {
        say(&mut to, word).await?;
        to.shutdown().await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await
    };
    let _ = timeout(HEARD_WITHIN, said).await;
}
