//! [`Observer`]: who looks on while a migration runs.

use std::fmt;

use crate::engine::MigrationState;
use crate::id::MigrationId;
use crate::part::Part;
use crate::replay::ReplayProgress;

/// How far something is that takes a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Bytes read at the source for the transfer, of those announced. Starts again with every attempt.
    Transfer {
        /// Which part of the checkpoint.
        part: Part,
        /// Read so far.
        bytes: u64,
        /// Announced.
        of_bytes: u64,
    },
    /// How far the copy is behind.
    Replay(ReplayProgress),
}

/// Looks on, for display, status and metrics. Called between the driver's awaits: it must not block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// The state has changed, and is stored.
    fn on_state(&self, state: &MigrationState) {
        let _ = state;
    }

    /// Something is under way.
    fn on_progress(&self, migration: &MigrationId, progress: &Progress) {
        let _ = (migration, progress);
    }
}

/// Looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
