//! Deadlines of demos with faults: long enough for every fault that is drawn, short enough to see many of them.

use std::time::Duration;

use ms2m_broker::journal::JournalOptions;
use ms2m_core::{Deadlines, RetryPolicy};

/// How long the in-memory broker is away when it restarts.
pub(crate) const BROKER_DOWN: Duration = Duration::from_millis(800);

/// Largest snapshot.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 16 << 20;
/// How long reading a snapshot that exists may take.
pub(crate) const READ_AGAIN: Duration = Duration::from_secs(2);

/// For migrations whose consumers hang for up to 3 s.
pub(crate) fn impatient() -> (Deadlines, RetryPolicy) {
    let seconds = Duration::from_secs;
    let deadlines = Deadlines {
        pending: seconds(10),
        pre_dumping: seconds(10),
        checkpointing: seconds(10),
        transferring: seconds(10),
        restoring: seconds(10),
        replaying: seconds(8),
        finalizing: seconds(20),
        hand_over: seconds(5),
        completing: seconds(60),
        rolling_back: seconds(30),
        call: seconds(6),
    };
    (deadlines, RetryPolicy { attempts_max: 8, base: Duration::from_millis(50), max: seconds(1) })
}

/// The same on a broker that restarts now and then, which takes it some ten seconds.
pub(crate) fn through_restarts() -> (Deadlines, RetryPolicy) {
    let seconds = Duration::from_secs;
    let deadlines = Deadlines { replaying: seconds(45), ..Deadlines::default() };
    (deadlines, RetryPolicy { attempts_max: 20, base: Duration::from_millis(50), max: seconds(2) })
}

/// For the journals of the same.
pub(crate) fn impatient_journal(options: &JournalOptions) -> JournalOptions {
    let seconds = Duration::from_secs;
    JournalOptions {
        begin_deadline: seconds(5),
        invite_deadline: seconds(2),
        park_deadline: seconds(5),
        call_deadline: seconds(4),
        retire_deadline: seconds(5),
        ..options.clone()
    }
}
