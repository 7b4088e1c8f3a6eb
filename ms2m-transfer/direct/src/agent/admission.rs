//! [`Admission`]: what an agent lets in, asked before the first byte.

use std::fmt;

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, MigrationId, Part, Result};

use crate::identity::Peer;

/// What somebody wants of the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// To send a part of so many bytes; `None` when the upload does not tell its size.
    Send {
        /// Which part.
        part: Part,
        /// Its announced size.
        archive_bytes: Option<u64>,
    },
    /// To send what will be named only behind it, in a form with its fields in this order. [`Send`](Action::Send) is asked then.
    SendUnnamed {
        /// The size of the form.
        archive_bytes: Option<u64>,
    },
    /// To read a part that has arrived.
    Read {
        /// Which part.
        part: Part,
    },
    /// To remove all of a migration.
    Discard,
    /// To see what is there, of all migrations, and how the agent is.
    List,
}

/// Decides about each request, after the certificate was checked and before anything is taken.
///
/// # Contract
/// - `Err`: the request is refused with this error, and nothing has changed. `Unauthorized` for somebody who may not, `NotFound` for a
///   migration that nobody knows.
/// - It is asked for every request, so a migration that has ended is refused from then on.
#[async_trait]
pub trait Admission: fmt::Debug + Send + Sync + 'static {
    /// May this peer do this? `migration` is `None` for [`Action::List`] and [`Action::SendUnnamed`].
    ///
    /// # Errors
    /// See the contract.
    async fn admit(&self, peer: &Peer, migration: Option<&MigrationId>, action: Action) -> Result<()>;
}

/// Lets these peers do everything, and nobody else anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowList {
    peers: Vec<String>,
}

impl AllowList {
    /// The names of the peers, as in their certificates.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { peers: peers.into_iter().map(Into::into).collect() }
    }
}

#[async_trait]
impl Admission for AllowList {
    async fn admit(&self, peer: &Peer, _: Option<&MigrationId>, _: Action) -> Result<()> {
        if self.peers.iter().any(|name| peer.is(name)) { Ok(()) } else { Err(stranger(peer)) }
    }
}

pub(super) fn stranger(peer: &Peer) -> Error {
    let message = "this agent does not know the peer; let it in at the agent, or use the certificate of a node that it knows";
    Error::fatal(ErrorKind::Unauthorized, message).with("peer", peer)
}
