//! The machine that this consumer runs: one of the two, and the copy becomes the source of its next migration.

use ms2m_broker::protocol::{Action, Copy, Event, Source};

use crate::outcome::Standing;

/// Which part it plays.
#[derive(Debug)]
pub(super) enum Machine {
    Source(Box<Source>),
    Copy(Box<Copy>),
}

impl Machine {
    pub(super) fn step(&mut self, event: Event, out: &mut Vec<Action>) {
        match self {
            Self::Source(source) => source.step(event, out),
            Self::Copy(copy) => copy.step(event, out),
        }
    }

    /// Whether the journal should be read on.
    pub(super) fn wants_records(&self) -> bool {
        match self {
            Self::Source(_) => true,
            Self::Copy(copy) => copy.wants_records(),
        }
    }

    /// Whether a journal decides about the queue.
    pub(super) fn is_migrating(&self) -> bool {
        match self {
            Self::Source(source) => source.is_migrating(),
            Self::Copy(_) => true,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Source(source) if source.is_parked() => Standing::Parked,
            Self::Source(source) if source.is_waiting() => Standing::Waiting,
            Self::Source(_) => Standing::Serving,
            Self::Copy(copy) if copy.owns_queue() => Standing::Serving,
            Self::Copy(_) => Standing::Replaying,
        }
    }

    /// The journal is left: from here on an ordinary consumer.
    pub(super) fn settle(&mut self) {
        if let Self::Copy(copy) = self
            && let Ok(source) = Copy::clone(copy).into_source()
        {
            *self = Self::Source(Box::new(source));
        }
    }
}
