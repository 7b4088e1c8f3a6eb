//! The agent's side: each route is one call of a driver.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Extension, Json, Router};
use ms2m_core::{
    Checkpoint, CopyStatus, Error, ErrorKind, MigrationId, PreDump, Receipt, Restored, Result, SourceStatus, TransferJob, paced,
};
use ms2m_transfer_direct::Peer;
use ms2m_transfer_direct::agent::Refused;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::node::Node;
use crate::place::{Restores, SourcePlace, TargetPlace};
use crate::wire::{Checkpointing, Described, Forgetting, PreDumping, Preparing, Restoring, Sending, Staging, path};

/// A question has some hundred bytes; the receipts of many rounds some thousand.
const QUESTION_BYTES_MAX: usize = 1 << 20;

/// What a node answers to these peers, by the names in their certificates, and to nobody else. To be merged with
/// [the agent's routes](ms2m_transfer_direct::Agent::router): requests carry their [`Peer`].
pub fn routes(node: Arc<dyn Node>, controllers: impl IntoIterator<Item = impl Into<String>>) -> Router {
    let served = Served { node, controllers: controllers.into_iter().map(Into::into).collect() };
    Router::new()
        .route(path::DESCRIBE, post(describe))
        .route(path::SOURCE_STATUS, post(source_status))
        .route(path::PRE_DUMP, post(pre_dump))
        .route(path::CHECKPOINT, post(checkpoint))
        .route(path::SEND, post(send))
        .route(path::RETIRE, post(retire))
        .route(path::DISCARD_SOURCE, post(discard_source))
        .route(path::RESTORES, post(restores))
        .route(path::PREPARE, post(prepare))
        .route(path::STAGE, post(stage))
        .route(path::RESTORE, post(restore))
        .route(path::TARGET_STATUS, post(target_status))
        .route(path::PROMOTE, post(promote))
        .route(path::DISCARD_TARGET, post(discard_target))
        .route(path::RECIPIENT, post(recipient))
        .route(path::DISCARD_TRANSFER, post(discard_transfer))
        .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX))
        .with_state(Arc::new(served))
}

#[derive(Debug)]
struct Served {
    node: Arc<dyn Node>,
    controllers: Vec<String>,
}

type Asked = State<Arc<Served>>;
type Who = Option<Extension<Peer>>;
type Answered<A> = Result<Json<A>, Refused>;

impl Served {
    /// The node, for who may ask it.
    fn admit(&self, peer: Who) -> Result<&dyn Node> {
        let Some(Extension(peer)) = peer else {
            return Err(Error::fatal(ErrorKind::Unauthorized, "the client was not authenticated"));
        };
        if self.controllers.iter().any(|name| peer.is(name)) {
            return Ok(&*self.node);
        }
        let message = "only a controller may have migrations done here; name this peer as one at the agent";
        Err(Error::fatal(ErrorKind::Unauthorized, message).with("peer", peer))
    }
}

/// A piece of work for one migration, as a span.
async fn spanned<A>(name: &'static str, migration: &MigrationId, work: impl Future<Output = Result<A>>) -> Answered<A> {
    let span = tracing::info_span!("node", otel.name = name, %migration, error = Empty);
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        span.record("error", tracing::field::display(error));
    }
    Ok(Json(done?))
}

async fn describe(State(served): Asked, peer: Who, Json(place): Json<SourcePlace>) -> Answered<Described> {
    let source = served.admit(peer)?.source(&place).await?;
    Ok(Json(Described { name: source.name().to_owned(), capability: source.capability() }))
}

async fn source_status(State(served): Asked, peer: Who, Json(place): Json<SourcePlace>) -> Answered<SourceStatus> {
    Ok(Json(served.admit(peer)?.source(&place).await?.status().await?))
}

async fn pre_dump(State(served): Asked, peer: Who, Json(asked): Json<PreDumping>) -> Answered<PreDump> {
    let work = async { served.admit(peer)?.source(&asked.place).await?.pre_dump(&asked.job, asked.round).await };
    spanned("node: pre-dump", &asked.job.migration, work).await
}

async fn checkpoint(State(served): Asked, peer: Who, Json(asked): Json<Checkpointing>) -> Answered<Checkpoint> {
    let work = async { served.admit(peer)?.source(&asked.place).await?.checkpoint(&asked.job).await };
    spanned("node: checkpoint", &asked.job.migration, work).await
}

async fn send(State(served): Asked, peer: Who, Json(asked): Json<Sending>) -> Answered<Receipt> {
    let Sending { place, job, way, bytes_per_s_max } = asked;
    let work = async {
        let node = served.admit(peer)?;
        let body = node.source(&place).await?.open(&named(&job), 0).await?;
        let body = match bytes_per_s_max {
            Some(bytes_per_s_max) => paced(body, bytes_per_s_max),
            None => body,
        };
        node.way(&way).await?.send(&job, body).await
    };
    spanned("node: send", &job.migration, work).await
}

async fn discard_transfer(State(served): Asked, peer: Who, Json(asked): Json<Forgetting>) -> Answered<()> {
    let work = async { served.admit(peer)?.way(&asked.way).await?.discard(&asked.migration).await };
    spanned("node: discard transfer", &asked.migration, work).await
}

async fn recipient(State(served): Asked, peer: Who, Json(()): Json<()>) -> Answered<String> {
    Ok(Json(served.admit(peer)?.recipient().await?))
}

/// A part is found by its migration and its name.
fn named(job: &TransferJob) -> Checkpoint {
    Checkpoint {
        migration: job.migration.clone(),
        part: job.part,
        parent: None,
        archive_bytes: job.archive_bytes,
        freeze: std::time::Duration::ZERO,
        manifest: Default::default(),
    }
}

async fn retire(State(served): Asked, peer: Who, Json(place): Json<SourcePlace>) -> Answered<()> {
    let work = async { served.admit(peer)?.source(&place).await?.retire(&place.migration).await };
    spanned("node: retire source", &place.migration, work).await
}

async fn discard_source(State(served): Asked, peer: Who, Json(place): Json<SourcePlace>) -> Answered<()> {
    let work = async {
        let node = served.admit(peer)?;
        node.source(&place).await?.discard(&place.migration).await?;
        node.source_done(&place.migration).await;
        Ok(())
    };
    spanned("node: discard checkpoint", &place.migration, work).await
}

async fn restores(State(served): Asked, peer: Who, Json(()): Json<()>) -> Answered<Restores> {
    Ok(Json(served.admit(peer)?.restores().await?))
}

async fn prepare(State(served): Asked, peer: Who, Json(asked): Json<Preparing>) -> Answered<()> {
    let work = async {
        let node = served.admit(peer)?;
        node.expect(&asked.place).await?;
        node.target(&asked.place).await?.prepare(&asked.job).await
    };
    spanned("node: prepare", &asked.job.migration, work).await
}

async fn stage(State(served): Asked, peer: Who, Json(asked): Json<Staging>) -> Answered<()> {
    let work = async {
        let node = served.admit(peer)?;
        node.target(&asked.place).await?.stage(&asked.job, &asked.receipt, node.arrived(&asked.way).await?).await
    };
    spanned("node: stage", &asked.job.migration, work).await
}

async fn restore(State(served): Asked, peer: Who, Json(asked): Json<Restoring>) -> Answered<Restored> {
    let work = async {
        let node = served.admit(peer)?;
        node.target(&asked.place).await?.restore(&asked.job, &asked.receipts, node.arrived(&asked.way).await?).await
    };
    spanned("node: restore", &asked.job.migration, work).await
}

async fn target_status(State(served): Asked, peer: Who, Json(place): Json<TargetPlace>) -> Answered<CopyStatus> {
    Ok(Json(served.admit(peer)?.target(&place).await?.status(&place.migration).await?))
}

async fn promote(State(served): Asked, peer: Who, Json(place): Json<TargetPlace>) -> Answered<()> {
    let work = async { served.admit(peer)?.target(&place).await?.promote(&place.migration).await };
    spanned("node: promote", &place.migration, work).await
}

/// The bytes that have arrived go by [`crate::RemoteTransfer`]'s own discard, before or after this.
async fn discard_target(State(served): Asked, peer: Who, Json(place): Json<TargetPlace>) -> Answered<()> {
    let work = async {
        let node = served.admit(peer)?;
        node.target(&place).await?.discard(&place.migration).await?;
        node.target_done(&place.migration).await
    };
    spanned("node: discard copy", &place.migration, work).await
}
