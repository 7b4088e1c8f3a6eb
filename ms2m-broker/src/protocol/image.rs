//! A consumer's position, as it travels beside the application's state.

use ms2m_core::DigestChain;
use serde::{Deserialize, Serialize};

use crate::protocol::intake::Window;
use crate::protocol::record::MigrationTag;

/// Everything of the protocol that a checkpoint carries: number, digest, the keys that may come again, and which
/// migration it was taken for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Image {
    /// How many messages were applied, and their digest.
    pub chain: DigestChain,
    pub(crate) window: Window,
    /// The migration in whose journal the source was a member; `None` outside one.
    pub migration: Option<MigrationTag>,
}
