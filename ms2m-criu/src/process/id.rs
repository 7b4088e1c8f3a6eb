//! [`ProcessId`]: one process, and never another one that got its number later.

use std::fmt;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One process by its number and the time of its start, which together never come again before the next boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number, as this process sees it.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since boot.
    pub start: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)
    }
}

/// What `/proc/PID/stat` says, as far as it is of use here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) id: ProcessId,
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) session: u32,
}

impl Stat {
    /// Of a living process or a zombie; `None` when there is none of this number.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// One line of `stat`. The name, in brackets, may hold anything.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (head, tail) = (line.split_once(" (")?.0, line.rsplit_once(") ")?.1);
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field).and_then(|field| field.parse::<u64>().ok());
        let small = |field: usize| number(field).and_then(|field| u32::try_from(field).ok());
        Some(Self {
            id: ProcessId { pid: head.trim().parse().ok()?, start: number(19)? },
            state: fields.first()?.chars().next()?,
            parent: small(1)?,
            session: small(3)?,
        })
    }

    /// Whether it can still execute anything.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl ProcessId {
    /// The living process that has this number now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = Stat::of(pid).filter(Stat::lives);
        stat.map(|stat| stat.id)
            .ok_or_else(|| Error::fatal(ErrorKind::NotFound, "there is no such process: look for its id again").with("pid", pid))
    }

    /// Whether it still executes anything. A zombie does not.
    #[must_use]
    pub fn lives(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.id == *self && stat.lives())
    }

    /// Whether a signal has stopped it. One that has ended will not go on either.
    pub(super) fn stopped(&self) -> bool {
        Stat::of(self.pid).is_none_or(|stat| stat.id != *self || stat.state == 'T' || !stat.lives())
    }

    /// Sends it a signal. `Ok` when it is gone.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return self.gone_or("a process cannot be held") };
        // The handle is of this process only if it was there before and after.
        if !self.lives() {
            return Ok(());
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(()),
            Err(_) => self.gone_or("a process cannot be signalled"),
        }
    }

    fn gone_or(&self, text: &str) -> Result<()> {
        if self.lives() {
            return Err(Error::retry(ErrorKind::Unauthorized, format!("{text}: run as root")).with("pid", self.pid));
        }
        Ok(())
    }

    /// Waits until it executes nothing any more.
    pub(super) async fn ended(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.lives() {
            if Instant::now() >= end {
                let text = "a killed process is still there: it is stuck in the kernel (state D); look at its disk or network file system";
                return Err(Error::retry(ErrorKind::Timeout, text).with("pid", self.pid));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "42 (a) R 1 (b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 11\n";
        let stat = Stat::parse(line).expect("parsed");
        assert_eq!(stat, Stat { id: ProcessId { pid: 42, start: 987_654 }, state: 'S', parent: 7, session: 41 });
        for cut in 0..line.len() - 20 {
            let _ = Stat::parse(&line[..cut]);
        }
    }

    #[test]
    fn another_process_with_the_same_number_is_another_one() {
        let own = ProcessId::of(std::process::id()).expect("alive");
        assert!(own.lives());
        assert!(!ProcessId { start: own.start + 1, ..own }.lives());
        assert_eq!(ProcessId::of(u32::MAX).expect_err("none").kind(), ErrorKind::NotFound);
    }
}
