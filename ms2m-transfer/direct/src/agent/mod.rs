//! The agent: takes checkpoints that other nodes send, keeps them until the copy is made of them, and gives them out.
//!
//! A program opens a [`Store`], decides by an [`Admission`] what is let in, and either has the [`Agent`] [listen](Agent::serve) or puts its
//! [router](Agent::router) behind a listener of its own, which then says who the [`Peer`](crate::Peer) of each request is.

mod admission;
mod answer;
mod arrived;
mod counters;
mod form;
mod here;
mod limits;
mod listen;
mod live_file;
mod requests;
mod store;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use ms2m_core::Result;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::{Action, Admission, AllowList};
pub use answer::Refused;
pub use counters::Facts;
pub use here::Here;
pub use limits::Limits;
pub use live_file::LiveFile;
pub use store::{Collected, Store, StoreOptions};

use crate::wire::{CHECKPOINTS, STATUS, Stored};
use counters::Counters;

/// Is told of each part that has become visible, before its sender is, and of each that will be removed. For example to load it into a
/// container runtime's store, and to take it out again.
///
/// # Contract
/// Both may be called again for the same part, also after a restart of the agent, and do what is missing then.
#[async_trait]
pub trait Arrival: std::fmt::Debug + Send + Sync + 'static {
    /// A part has arrived.
    ///
    /// # Errors
    /// The sender is told, and the part is removed.
    async fn arrived(&self, stored: &Stored) -> Result<()>;

    /// A part is about to be removed: it was discarded, is too old, or another one has come in its place.
    ///
    /// # Errors
    /// The part stays. Whoever has discarded it is told; what is too old is tried again with the next [`Agent::collect`].
    async fn removed(&self, _: &Stored) -> Result<()> {
        Ok(())
    }
}

/// Nothing is done with what arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept;

#[async_trait]
impl Arrival for Kept {
    async fn arrived(&self, _: &Stored) -> Result<()> {
        Ok(())
    }
}

/// An agent. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    admission: Arc<dyn Admission>,
    arrival: Arc<dyn Arrival>,
    limits: Limits,
    counters: Counters,
    transfers: Arc<Semaphore>,
    /// Nothing new is begun any more.
    ending: CancellationToken,
    /// What still goes on is ended, too.
    ended: CancellationToken,
    /// Uploads outlive their requests.
    uploads: TaskTracker,
}

impl Agent {
    /// An agent over this store.
    #[must_use]
    pub fn new(store: Arc<Store>, admission: Arc<dyn Admission>, arrival: Arc<dyn Arrival>, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            store,
            admission,
            arrival,
            limits,
            counters: Counters::default(),
            transfers: Arc::new(Semaphore::new(limits.transfers_max)),
            ending: CancellationToken::new(),
            ended: CancellationToken::new(),
            uploads: TaskTracker::new(),
        }))
    }

    /// Everything that the agent answers. Each request must carry a [`Peer`](crate::Peer) among its extensions: whoever serves this has
    /// authenticated it. Requests without one are refused. Uploads need a server that lets connections be upgraded, as axum's own does.
    pub fn router(&self) -> Router {
        Router::new()
            .route(STATUS, get(requests::status))
            .route(CHECKPOINTS, get(requests::list))
            .route(&format!("{CHECKPOINTS}/{{migration}}"), delete(requests::discard))
            .route(&format!("{CHECKPOINTS}/{{migration}}/{{part}}"), post(upload::upload).delete(requests::abandon))
            .route(&format!("{CHECKPOINTS}/{{migration}}/{{part}}/{{digest}}"), get(requests::read))
            .route("/checkpoint", post(form::upload))
            // Sizes are limited by the store.
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// What it has done and is doing.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.0.counters.facts()
    }

    /// Where it keeps what arrives.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// Whether it takes new uploads: not any more when it was told to end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.ending.is_cancelled()
    }

    /// Removes orphans, and counts them. Call it now and then.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn collect(&self) -> Result<Collected> {
        let (store, arrival) = (Arc::clone(&self.0.store), Arc::clone(&self.0.arrival));
        let runtime = tokio::runtime::Handle::current();
        let collected = store::blocking(move || {
            store.collect_if(|stored| match runtime.block_on(arrival.removed(stored)) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(migration = %stored.migration, part = %stored.part, %error, "what is too old stays for now");
                    false
                }
            })
        })
        .await?;
        counters::add(&self.0.counters.orphans_removed, collected.incomplete + collected.arrived);
        Ok(collected)
    }

    /// Begins nothing new, waits until what goes on has ended or [`Limits::drain_within`] is over, and ends the rest, which can go on with the
    /// next agent. What has arrived whole is made visible in any case.
    pub async fn end(&self) {
        self.0.ending.cancel();
        self.0.uploads.close();
        let drained = tokio::time::timeout(self.0.limits.drain_within, self.0.uploads.wait()).await;
        self.0.ended.cancel();
        if drained.is_err() {
            self.0.uploads.wait().await;
        }
    }
}
