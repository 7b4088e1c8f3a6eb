//! [`Limits`].

use std::time::Duration;

/// What an agent takes on at a time, and how long it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections. Some more are answered that there are too many; beyond these they are closed unheard.
    pub connections_max: usize,
    /// Uploads and downloads that go on at the same time.
    pub transfers_max: usize,
    /// How long a client may take for the TLS handshake, and for the head of a request.
    pub head_within: Duration,
    /// How long a client may take for a piece (512 KiB, or what is left) of an upload or download. Whoever is slower is cut off, and can go on
    /// where it was.
    pub piece_within: Duration,
    /// How long uploads may go on after the agent was told to end.
    pub drain_within: Duration,
}

impl Default for Limits {
    /// 2048 connections, 16 transfers; 10 s for a head, 60 s for a piece, 20 s to drain.
    fn default() -> Self {
        Self {
            connections_max: 2048,
            transfers_max: 16,
            head_within: Duration::from_secs(10),
            piece_within: Duration::from_secs(60),
            drain_within: Duration::from_secs(20),
        }
    }
}
