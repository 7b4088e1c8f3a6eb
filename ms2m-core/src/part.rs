//! [`Part`]: the pieces in which a checkpoint travels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One piece of a migration's checkpoint. Pre-dump rounds travel while the source runs; the final part is what moves after
/// the freeze. Without pre-dump there is only [`Part::Final`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What a pre-dump round wrote; from 1.
    Round(u32),
    /// What was dumped at the safe point.
    Final,
}

impl fmt::Display for Part {
    /// Fit for names of files and directories.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Round(round) => write!(f, "round-{round}"),
            Self::Final => f.write_str("final"),
        }
    }
}
