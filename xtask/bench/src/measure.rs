//! How long something takes, and how much memory a process has had at most.

use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The kernel keeps the peak itself, so that only what is allocated right before the end can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Taken {
    pub(crate) time: Duration,
    /// Of all processes that this was about, the largest. `None` for what ran in this process.
    pub(crate) peak_bytes: Option<u64>,
}

impl Taken {
    /// One after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        Self { time: self.time + next.time, peak_bytes: self.peak_bytes.max(next.peak_bytes) }
    }

    pub(crate) fn here(work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let begun = Instant::now();
        work()?;
        Ok(Self { time: begun.elapsed(), peak_bytes: None })
    }
}

/// Runs a command to its good end.
pub(crate) fn run(command: &mut Command) -> Result<Taken> {
    output(command).map(|(taken, _)| taken)
}

/// The same, with what it says.
pub(crate) fn output(command: &mut Command) -> Result<(Taken, String)> {
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    let (ended, pid) = (AtomicBool::new(false), child.id());
    let (output, time, peak_bytes) = thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = None;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(peak_bytes(pid));
                thread::park_timeout(LOOK_EVERY);
            }
            peak
        });
        let output = Child::wait_with_output(child);
        let time = begun.elapsed();
        ended.store(true, Ordering::Relaxed);
        peak.thread().unpark();
        (output, time, peak.join().unwrap_or(None))
    });
    let Output { status, stdout, stderr } = output?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("{} ended with {status}: {}", command.get_program().display(), said.trim());
    }
    Ok((Taken { time, peak_bytes }, String::from_utf8_lossy(&stdout).into_owned()))
}

/// `None` when the process has ended.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_measured_and_its_failure_is_told() {
        let (taken, said) = output(Command::new("sh").args(["-c", "sleep 0.1; echo done"])).unwrap();
        assert_eq!(said, "done\n");
        assert!(taken.time >= Duration::from_millis(100) && taken.peak_bytes.is_some_and(|bytes| bytes > 100_000), "{taken:?}");
        let error = run(Command::new("sh").args(["-c", "echo why >&2; false"])).unwrap_err().to_string();
        assert!(error.starts_with("sh ended with") && error.ends_with(": why"), "{error}");
        assert!(run(&mut Command::new("/nonexistent")).is_err());
    }

    #[test]
    fn what_follows_adds_time_and_not_memory() {
        let taken = |ms, peak_bytes| Taken { time: Duration::from_millis(ms), peak_bytes };
        assert_eq!(taken(1, Some(5)).and(taken(2, Some(3))).and(taken(3, None)), taken(6, Some(5)));
    }
}
