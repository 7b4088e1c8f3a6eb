//! [`Limits`]: how long a consumer waits, and for how much.

use std::time::Duration;

/// Deadlines and sizes. The defaults fit most consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a fresh consumer waits for the broker, and for a migration of its queue that is still undecided.
    pub start_deadline: Duration,
    /// How long a lost broker is tried for before the consumer ends with an error.
    pub reconnect_deadline: Duration,
    /// Longest pause between two of these attempts.
    pub reconnect_pause_max: Duration,
    /// A source leaves a migration by itself when the controller has written nothing to the journal for so long. Time in
    /// which the process was frozen does not count.
    pub patience: Duration,
    /// How often progress is told during a migration.
    pub progress_interval: Duration,
    /// How often effects are tried to be let out before the consumer ends with an error; pauses double from 20 ms to 2 s.
    pub effect_attempts: usize,
    /// How long a stop waits for effects and acknowledgements.
    pub stop_deadline: Duration,
    /// How long writing a snapshot may take.
    pub snapshot_deadline: Duration,
    /// Largest snapshot, in bytes.
    pub snapshot_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start_deadline: Duration::from_secs(300),
            reconnect_deadline: Duration::from_secs(600),
            reconnect_pause_max: Duration::from_secs(2),
            patience: Duration::from_secs(30),
            progress_interval: Duration::from_millis(20),
            effect_attempts: 12,
            stop_deadline: Duration::from_secs(10),
            snapshot_deadline: Duration::from_secs(30),
            snapshot_bytes_max: 1 << 30,
        }
    }
}
