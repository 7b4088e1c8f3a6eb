//! What goes wrong on a wire.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Which bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// All.
    Either,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutEnd {
    /// Reset on both sides (RST): what is on its way is lost.
    Reset,
    /// Both sides see an orderly end (FIN), as when a proxy gives up.
    Close,
}

/// How many times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Often {
    /// The first time only.
    Once,
    /// Again and again: the distance is drawn anew from the place of the last cut, over all connections.
    Always,
}

/// Ends the connection on which the last counted byte passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Which bytes are counted, over all connections of the relay.
    pub direction: Direction,
    /// So many bytes pass before; drawn from the range each time.
    pub bytes: RangeInclusive<u64>,
    /// Once or again and again.
    pub often: Often,
    /// How the connection ends.
    pub end: CutEnd,
}

impl Cut {
    /// Resets one connection after so many bytes in this direction.
    #[must_use]
    pub fn once(direction: Direction, bytes: u64) -> Self {
        Self { direction, bytes: bytes..=bytes, often: Often::Once, end: CutEnd::Reset }
    }

    /// Resets whenever so many bytes have passed in this direction.
    #[must_use]
    pub fn every(direction: Direction, bytes: u64) -> Self {
        Self { often: Often::Always, ..Self::once(direction, bytes) }
    }

    /// The same at random distances.
    #[must_use]
    pub fn random(direction: Direction, bytes: RangeInclusive<u64>) -> Self {
        Self { direction, bytes, often: Often::Always, end: CutEnd::Reset }
    }

    /// The same with an orderly end.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { end: CutEnd::Close, ..self }
    }
}

/// What goes wrong. [`Faults::default`] is a good wire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// What is random is drawn from it.
    pub seed: u64,
    /// Connections that end.
    pub cut: Option<Cut>,
    /// After so many bytes in this direction, over all connections, nothing gets through in either, until
    /// [`Relay::go_on`](super::Relay::go_on).
    pub stall: Option<(Direction, u64)>,
    /// Each piece arrives so much later. Pieces follow each other on the way, so this alone limits no bandwidth (but see `PIECES` in the
    /// source: 4 MiB are on their way at most).
    pub delay: Duration,
    /// At most so many bytes a second in each direction, over all connections.
    pub bytes_per_second: Option<u64>,
}

impl Faults {
    /// A wire whose only fault is this cut.
    #[must_use]
    pub fn cut(cut: Cut) -> Self {
        Self { cut: Some(cut), ..Self::default() }
    }
}
