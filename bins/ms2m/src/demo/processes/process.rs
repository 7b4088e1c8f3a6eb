//! One process of a demo, found again by a driver that did not start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, Result, SourceStatus};
use ms2m_testkit::snapshot::SourceProcess;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(2);
/// Even a process in the middle of a large write is gone by then.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// Which process: its id may be used again, its id and the time it started are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pid: i32,
    /// In clock ticks since the machine started.
    started: u64,
}

impl ProcessId {
    /// This process.
    pub(crate) fn own() -> Result<Self> {
        let pid = std::process::id().cast_signed();
        let stat = Stat::of(pid)?.ok_or_else(|| Error::fatal(ErrorKind::Unsupported, "this process is not in /proc"))?;
        Ok(Self { pid, started: stat.started })
    }

    /// Whether it is certain that it has ended.
    fn is_gone(self) -> Result<bool> {
        Ok(Stat::of(self.pid)?.is_none_or(|stat| stat.started != self.started || stat.has_ended))
    }

    fn signal(self, signal: Signal) -> Result<()> {
        if self.is_gone()? {
            return Ok(());
        }
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::undo(ErrorKind::Unauthorized, "a process of the demo cannot be signalled").caused_by(error)),
        }
    }
}

struct Stat {
    started: u64,
    has_ended: bool,
}

impl Stat {
    fn of(pid: i32) -> Result<Option<Self>> {
        let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // It ended while being looked at.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(error) => return Err(Error::retry(ErrorKind::Unavailable, "a process cannot be looked at").caused_by(error)),
        };
        // The command's name stands in brackets and may contain anything; the last bracket ends it.
        let mut fields = text.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        let state = fields.next();
        let started = fields.nth(18).and_then(|field| field.parse().ok());
        let started = started.ok_or_else(|| Error::fatal(ErrorKind::Unsupported, "/proc has another format than that of Linux"))?;
        Ok(Some(Self { started, has_ended: matches!(state, Some("Z" | "X")) }))
    }
}

/// A process by the file in which it has noted who it is.
#[derive(Clone, Debug)]
pub(crate) struct Process(PathBuf);

impl Process {
    /// The process of that name.
    pub(crate) fn named(directory: &Path, name: &str) -> Self {
        Self(directory.join(format!("{name}.process")))
    }

    /// Everything that has a file there.
    pub(crate) fn all(directory: &Path) -> Vec<(String, Self)> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "process"));
        paths.filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), Self(path)))).collect()
    }

    pub(crate) fn file(&self) -> &Path {
        &self.0
    }

    /// Who it is, once it has noted it.
    fn id(&self) -> Option<ProcessId> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Whether it has started and not ended.
    pub(crate) fn lives(&self) -> Result<bool> {
        self.id().map_or(Ok(false), |id| id.is_gone().map(|gone| !gone))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.id().map_or(Ok(()), |id| id.signal(signal))
    }

    /// Kills it, and waits until nothing is left of it.
    pub(crate) async fn kill(&self) -> Result<()> {
        let Some(id) = self.id() else { return Ok(()) };
        let deadline = Instant::now() + END_DEADLINE;
        while !id.is_gone()? {
            id.signal(Signal::KILL)?;
            if Instant::now() > deadline {
                return Err(Error::retry(ErrorKind::Timeout, "a process does not end").with("pid", id.pid));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

#[async_trait]
impl SourceProcess for Process {
    async fn status(&self) -> Result<SourceStatus> {
        // Only a process that was there once can be gone.
        let gone = self.id().map_or(Ok(false), ProcessId::is_gone)?;
        Ok(if gone { SourceStatus::Gone } else { SourceStatus::Present })
    }

    async fn end(&self) -> Result<()> {
        self.kill().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn knows_whether_a_process_lives() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let id = ProcessId { pid, started: Stat::of(pid).unwrap().unwrap().started };
        let process = Process::named(directory.path(), "c");
        assert!(!process.lives().unwrap());
        assert_eq!(process.status().await.unwrap(), SourceStatus::Present, "not known to be gone");
        fs::write(process.file(), serde_json::to_vec(&id).unwrap()).unwrap();
        assert!(process.lives().unwrap());
        // It stays a zombie until it is waited for, and is gone all the same.
        process.kill().await.unwrap();
        assert_eq!(process.status().await.unwrap(), SourceStatus::Gone);
        child.wait().unwrap();
        assert!(!process.lives().unwrap());
        assert!(ProcessId { pid: id.pid, started: id.started + 1 }.is_gone().unwrap());
        assert!(!ProcessId::own().unwrap().is_gone().unwrap());
    }
}
