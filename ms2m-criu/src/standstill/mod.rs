//! [`Standstill`]: moves what serves no queue. Between its last instruction and the copy's first one nobody runs.

mod containers;
mod process;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{
    Begun, Clock, CopyStatus, CutOver, Digest, Error, ErrorKind, HandOverJob, HandoverMode, MigrationId, Ownership, Parked, Protocol,
    ReplayBroker, ReplayJob, ReplayProgress, ReplayStanding, RestoreTarget, Result, Retired, SystemClock, Timestamp,
};
use serde::{Deserialize, Serialize};

use self::containers::Containers;
use self::process::Process;
use crate::process::{ProcessSource, ProcessTarget};
use crate::runtime::Runtime;

/// Without a queue there is no journal that could decide who goes on. Here a file decides: the source is frozen before its checkpoint
/// and stays frozen, also when this process dies, until it is ended (the copy goes on) or thawed (the copy is certainly gone). A
/// migration that nobody drives any more leaves a frozen source behind; whoever resumes it ends that.
#[derive(Debug)]
pub struct Standstill {
    source: Box<dyn Source>,
    work_dir: PathBuf,
    target: Arc<dyn RestoreTarget>,
}

/// Who stands still.
#[async_trait]
trait Source: fmt::Debug + Send + Sync {
    /// Whether it can be frozen.
    async fn check(&self) -> Result<()>;

    /// Freezes it until somebody thaws it, whatever becomes of this process.
    async fn freeze(&self) -> Result<()>;

    /// Lets it go on, if it is there.
    async fn thaw(&self) -> Result<()>;

    /// Lets the copy go on, if it woke standing still as the source did.
    async fn release(&self, migration: &MigrationId) -> Result<()>;
}

/// What has been decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Log {
    /// When the source was frozen.
    parked_at: Option<Timestamp>,
    verdict: Option<Verdict>,
    /// How long nobody ran.
    gap_us: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Copy,
    Source,
}

impl Standstill {
    /// Of these containers, whose copies `target` makes. What is decided is kept below `work_dir`.
    #[must_use]
    pub fn new(runtime: Runtime, containers: Vec<String>, work_dir: impl Into<PathBuf>, target: Arc<dyn RestoreTarget>) -> Self {
        Self { source: Box::new(Containers { runtime, names: containers }), work_dir: work_dir.into(), target }
    }

    /// Of a bare process tree. It is stopped by `SIGSTOP`, and its copy wakes stopped: neither may be one that has stopped itself, or
    /// that cannot bear to be continued (`SIGCONT`).
    #[must_use]
    pub fn of_process(source: Arc<ProcessSource>, work_dir: impl Into<PathBuf>, target: Arc<ProcessTarget>) -> Self {
        Self { source: Box::new(Process { source, target: Arc::clone(&target) }), work_dir: work_dir.into(), target }
    }

    fn file(&self, migration: &MigrationId) -> PathBuf {
        self.work_dir.join("migrations").join(migration.as_str()).join("standstill.json")
    }

    fn log(&self, migration: &MigrationId) -> Result<Log> {
        let file = self.file(migration);
        match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let message = "it cannot be read who goes on; look at the containers and remove the wrong one";
                Error::fatal(ErrorKind::Corrupt, message).with("file", file.display()).caused_by(error)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Log::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Replaces the log as a whole: this is the commit.
    fn write(&self, migration: &MigrationId, log: Log) -> Result<()> {
        let file = self.file(migration);
        let new = file.with_extension("new");
        let json = serde_json::to_vec(&log).map_err(|error| failed(error.into()))?;
        let write = || {
            if let Some(directory) = file.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(&new, json)?;
            std::fs::rename(&new, &file)
        };
        write().map_err(failed)
    }

    fn owner(log: Log) -> Option<Ownership> {
        Some(match log.verdict? {
            Verdict::Copy => {
                let gap = log.gap_us.map(std::time::Duration::from_micros);
                Ownership::Copy(CutOver { source_last_applied: log.parked_at, cutover_gap: gap, ..CutOver::default() })
            }
            Verdict::Source => Ownership::Source { reason: "the migration was aborted".to_owned() },
        })
    }
}

#[async_trait]
impl ReplayBroker for Standstill {
    fn name(&self) -> &'static str {
        "standstill"
    }

    async fn begin(&self, job: &ReplayJob) -> Result<Begun> {
        self.source.check().await?;
        self.write(&job.migration, Log::default())?;
        Ok(Begun { protocol: Protocol::Standstill, mode: HandoverMode::Hold, applied: 0 })
    }

    async fn park(&self, migration: &MigrationId) -> Result<Parked> {
        self.source.freeze().await?;
        let log = self.log(migration)?;
        self.write(migration, Log { parked_at: log.parked_at.or_else(|| Some(SystemClock.now())), ..log })?;
        Ok(Parked { n: 0, digest: Digest::from_bytes([0; 32]) })
    }

    async fn resume(&self, migration: &MigrationId) -> Result<()> {
        let message = "a source that serves no queue must not go on beside its copy";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", migration))
    }

    async fn progress(&self, migration: &MigrationId) -> Result<ReplayProgress> {
        let standing = match (self.log(migration)?.verdict, self.target.status(migration).await?) {
            (Some(Verdict::Copy), _) => ReplayStanding::CopyOwns,
            (Some(Verdict::Source), _) => ReplayStanding::Aborted("the migration was aborted".to_owned()),
            (None, CopyStatus::Present) => ReplayStanding::Ready,
            (None, CopyStatus::Gone) => ReplayStanding::AwaitingCopy,
        };
        Ok(ReplayProgress { source_n: 0, copy_n: 0, standing })
    }

    async fn hand_over(&self, job: &HandOverJob) -> Result<Ownership> {
        let mut log = self.log(&job.migration)?;
        if log.verdict.is_none() {
            if self.target.status(&job.migration).await? == CopyStatus::Gone {
                return Err(Error::undo(ErrorKind::NotFound, "the copy has ended before it was to take over"));
            }
            log.verdict = Some(Verdict::Copy);
            self.write(&job.migration, log)?;
        }
        if log.verdict == Some(Verdict::Copy) && log.gap_us.is_none() {
            self.source.release(&job.migration).await?;
            let gap = log.parked_at.map(|parked| SystemClock.now().since(parked));
            log.gap_us = gap.and_then(|gap| gap.as_micros().try_into().ok());
            self.write(&job.migration, log)?;
        }
        Self::owner(log).ok_or_else(|| Error::fatal(ErrorKind::Invariant, "nothing was decided"))
    }

    async fn abort(&self, migration: &MigrationId, reason: &str) -> Result<Ownership> {
        let mut log = self.log(migration)?;
        if log.verdict.is_none() {
            log.verdict = Some(Verdict::Source);
            self.write(migration, log)?;
        }
        match Self::owner(log) {
            Some(Ownership::Source { .. }) | None => Ok(Ownership::Source { reason: reason.to_owned() }),
            Some(copy) => Ok(copy),
        }
    }

    async fn retire(&self, migration: &MigrationId, _source_gone: bool) -> Result<Retired> {
        let log = self.log(migration)?;
        let cut_over = match Self::owner(log) {
            Some(Ownership::Copy(cut_over)) => {
                // Also when whoever has decided was killed before it could.
                self.source.release(migration).await?;
                Some(cut_over)
            }
            // The copy has been discarded before.
            _ => {
                self.source.thaw().await?;
                None
            }
        };
        match std::fs::remove_file(self.file(migration)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(Retired { cut_over, ..Retired::default() }),
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::retry(ErrorKind::Other, "the file that says who goes on cannot be read or written").caused_by(error)
}
