//! What an agent knows of the copies in its node's pods: found again after a restart.

use serde::{Deserialize, Serialize};

use super::wire::Hello;
use crate::local::record::Kept;

/// The copy of one migration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The containers that wait, or have waited.
    pub(super) containers: Vec<Hello>,
    /// The CRIU that will restore them: asked for while there is time.
    #[serde(default)]
    pub(super) criu: String,
    /// Whether the copy may live.
    pub(super) ordered: bool,
    /// Whether it is the owner's own now, and must not be discarded any more.
    pub(super) promoted: bool,
}

impl Kept for Record {
    const FILE: &'static str = "pod.json";
}
