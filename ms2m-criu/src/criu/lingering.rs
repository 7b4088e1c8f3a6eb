//! CRIU processes whose caller has given up, and which may not be killed at once.
//!
//! A CRIU that dumps runs code of its own in the source's tasks. Killed at such a moment it leaves a task with foreign registers, which
//! goes on with them at once and dies of SIGTRAP; nobody else can be its tracer by then, and its own registers are known to the dead CRIU
//! only. Seen with CRIU 4.2.1 mostly where CRIU borrows system calls of a task to map its code, else while it reads the registers of
//! threads and while it leaves.
//! So a dump that nobody wants any more loses its socket only. CRIU notices that before it lets the source go on, undoes everything, and
//! ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::sync::watch;

/// After this it hangs, and killing it is the smaller evil.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// A killed process vanishes at once, unless it is stuck in the kernel.
const KILLED_MAX: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How many there are.
#[derive(Clone, Debug)]
pub(super) struct Lingering(Arc<watch::Sender<usize>>);

impl Default for Lingering {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Lingering {
    /// Waits for its end elsewhere.
    pub(super) fn keep(&self, mut child: Child) {
        self.0.send_modify(|count| *count += 1);
        let count = Arc::clone(&self.0);
        std::thread::spawn(move || {
            if !ended_within(&mut child, LINGER_MAX) {
                tracing::warn!("a CRIU that was given up does not end by itself and is killed");
                kill(&mut child);
            }
            count.send_modify(|count| *count -= 1);
        });
    }

    /// Waits until there is none.
    pub(super) async fn none(&self) {
        let mut count = self.0.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

/// Kills it and waits for it, as long as that can take.
pub(super) fn kill(child: &mut Child) {
    let _ = child.start_kill();
    if !ended_within(child, KILLED_MAX) {
        tracing::warn!("a killed CRIU has not ended yet: it is stuck in the kernel");
    }
}

fn ended_within(child: &mut Child, limit: Duration) -> bool {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(LOOK_EVERY),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}
