//! What goes wrong during a migration, drawn from the seed.

mod draw;
mod inject;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ms2m_core::Phase;
use serde::{Deserialize, Serialize};

pub(crate) use draw::{Menu, draw};
pub(crate) use inject::{Injector, Watch};

/// A fault.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The source crashes. Only once a checkpoint exists: before it a crash loses the state, as without a migration.
    KillSource,
    /// The copy crashes, before it can own the queue: later it is the only one that has the state.
    KillCopy,
    /// The source hangs for a while.
    PauseSource(Duration),
    /// The copy hangs for a while.
    PauseCopy(Duration),
    /// The source loses its connection.
    DropSource,
    /// The copy loses its connection.
    DropCopy,
    /// Whoever drives the migration loses its connection.
    DropController,
    /// The broker restarts.
    RestartBroker,
    /// The transfer fails so many times, before, during or after its work.
    TransferFails(u32),
    /// The transfer hesitates before each call.
    TransferHesitates(Duration),
    /// Whoever drives the migration crashes, and another one goes on from what is stored.
    CrashDriver,
}

impl Fault {
    /// Its kind, for counts.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::KillSource => "kill_source",
            Self::KillCopy => "kill_copy",
            Self::PauseSource(_) => "pause_source",
            Self::PauseCopy(_) => "pause_copy",
            Self::DropSource => "drop_source",
            Self::DropCopy => "drop_copy",
            Self::DropController => "drop_controller",
            Self::RestartBroker => "restart_broker",
            Self::TransferFails(_) => "transfer_fails",
            Self::TransferHesitates(_) => "transfer_hesitates",
            Self::CrashDriver => "crash_driver",
        }
    }
}

/// How many faults of which kind have happened.
pub(crate) type Tally = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// A fault and when it happens.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    /// In this phase or, should it be over at once, a later one.
    pub(crate) phase: Phase,
    /// So long after the phase began.
    pub(crate) after: Duration,
}
