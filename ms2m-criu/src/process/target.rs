//! [`ProcessTarget`]: copies of bare process trees.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{CopyStatus, Error, ErrorKind, MigrationId, Part, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::id::ProcessId;
use super::open_files::OpenFiles;
use super::options::TargetOptions;
use super::source::blocking;
use super::{CONTAINER, launch};
use crate::criu::RestoreOptions;
use crate::store::{JobDir, Store, failed};

const IDENTITY: &str = "identity";
const OUTPUT: &str = "output";
/// The number of the copy's first process, within its own namespace.
const ROOT: &str = "root";
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Makes copies on this machine, each in a pid and mount namespace of its own: the source, with the same process ids and files, goes on.
///
/// What a copy has of its own: its process ids, its `/proc`, the files that the source had open for writing, its identity file. It shares
/// everything else with the source, above all the network: a source that listens keeps its port, and a copy of it is refused. Its
/// connections come up closed. It runs on when the driver ends.
#[derive(Debug)]
pub struct ProcessTarget {
    options: TargetOptions,
    store: Store,
}

impl ProcessTarget {
    /// A target with these options.
    ///
    /// # Errors
    /// When the work directory cannot be used.
    pub fn new(options: TargetOptions) -> Result<Self> {
        let store = Store::open(&options.work_dir)?;
        Ok(Self { options, store })
    }

    /// The process that keeps the copy of a migration and dies with it, if it lives. It is the first one of the copy's pid namespace.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn keeper(&self, migration: &MigrationId) -> Result<Option<ProcessId>> {
        self.store.existing(migration)?.map_or(Ok(None), |dir| launch::keeper(&dir))
    }

    /// The first process of a migration's copy, as this process sees it; `None` when it has ended.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn copy(&self, migration: &MigrationId) -> Result<Option<ProcessId>> {
        let Some(dir) = self.store.existing(migration)? else { return Ok(None) };
        let Some(keeper) = launch::keeper(&dir)? else { return Ok(None) };
        let root = dir.read(Path::new(ROOT))?.and_then(|root| String::from_utf8(root).ok()?.parse::<u32>().ok());
        Ok(launch::kept(keeper).into_iter().find(|id| root.is_some_and(|root| launch::number_inside(*id) == Some(root))))
    }

    /// Lets a copy go on that woke stopped, as its source was.
    pub(crate) fn go_on(&self, migration: &MigrationId) -> Result<()> {
        let Some(keeper) = self.keeper(migration)? else { return Ok(()) };
        launch::kept(keeper).iter().try_for_each(|id| id.signal(Signal::CONT))
    }

    /// Copies that dead drivers have left, and no engine knows; [`discard`](RestoreTarget::discard) ends them.
    ///
    /// # Errors
    /// See [`Store::orphans`].
    pub fn orphans(&self, wanted: impl Fn(&MigrationId) -> bool) -> Result<Vec<MigrationId>> {
        self.store.orphans(wanted)
    }

    fn write_identity(&self, dir: &JobDir, job: &RestoreJob) -> Result<Option<(PathBuf, PathBuf)>> {
        let Some(place) = &self.options.identity else { return Ok(None) };
        fs::metadata(place).map_err(|error| failed("looking for the file that names the consumer", place, error))?;
        dir.write(Path::new(IDENTITY), format!("{}\n", job.copy).as_bytes())?;
        let own = dir.path().join(IDENTITY);
        // The consumer may run as another user; the directories above are for root only, but it comes by the mount.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&own, readable).map_err(|error| failed("making the identity readable", &own, error))?;
        Ok(Some((own, place.clone())))
    }

    /// The copy that an earlier call has made; one that is only half made is waited for, or ended.
    async fn living(&self, dir: &JobDir, deadline: Duration) -> Result<Option<ProcessId>> {
        let end = Instant::now() + deadline;
        while let Some(keeper) = launch::keeper(dir)? {
            if !launch::is_restoring(keeper) {
                return Ok(Some(keeper));
            }
            if Instant::now() >= end {
                launch::end(dir, self.options.end_max).await?;
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    async fn make(&self, dir: &JobDir, job: &RestoreJob, receipts: &[Receipt], transfer: &Arc<dyn TransferBackend>) -> Result<()> {
        let begun = Instant::now();
        for receipt in receipts {
            if dir.unpacked(receipt.part)?.is_none() {
                dir.unpack(receipt, transfer, &self.options.limits).await?;
            }
        }
        let (dir, parts): (_, Vec<Part>) = (dir.clone(), receipts.iter().map(|receipt| receipt.part).collect());
        let identity = self.write_identity(&dir, job)?;
        let place = dir.clone();
        let (files, places, images) = blocking(move || {
            place.link(&parts, CONTAINER)?;
            let images = place.link_images(CONTAINER)?;
            let beside = place.restored(Part::Final, CONTAINER);
            let files = OpenFiles::read(&beside)?;
            let mut places = files.place(&beside)?;
            // Last, for it wins over a copy of the source's own.
            places.extend(identity);
            Ok((files, places, images))
        })
        .await?;
        let output = self.options.output.clone().unwrap_or_else(|| dir.path().join(OUTPUT));
        let criu = self.options.criu.clone().launched_by(launch::command(&dir, &places)).output(output);
        let mut restore = RestoreOptions::new(images);
        restore.tcp_close = true;
        restore.ext_unix_sk = self.options.ext_unix_sk;
        restore.file_locks = self.options.file_locks;
        restore.shell_job = files.foreign_session;
        restore.inherit_fds = files.pipes.iter().map(|pipe| (pipe.clone(), 1)).collect();
        restore.exec = launch::keep();
        restore.deadline = job.deadline.saturating_sub(begun.elapsed());
        let restored = criu.restore(&restore, |_| async { Ok(()) }).await?;
        dir.write(Path::new(ROOT), restored.pid.to_string().as_bytes())?;
        match self.living(&dir, self.options.end_max).await? {
            Some(_) => Ok(()),
            None => {
                Err(Error::undo(ErrorKind::Unavailable, "the copy has ended at once: look at its log")
                    .with("directory", dir.path().display()))
            }
        }
    }

    /// Ends what a failed restore may have left. What was unpacked stays: the next attempt needs it.
    async fn undo(&self, dir: &JobDir, error: Error) -> Error {
        match launch::end(dir, self.options.end_max).await {
            Ok(()) => error,
            Err(left) => left.with("after", error),
        }
    }
}

#[async_trait]
impl RestoreTarget for ProcessTarget {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        self.options.criu.version().await?;
        if let Some(place) = &self.options.identity {
            fs::metadata(place).map_err(|error| failed("looking for the file that names the consumer", place, error))?;
        }
        self.store.job(&job.migration).map(drop)
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        let dir = self.store.job(&job.migration)?;
        let late = |_| Error::retry(ErrorKind::Timeout, "a round was not unpacked in time").with("part", receipt.part);
        timeout(job.deadline, dir.unpack(receipt, &transfer, &self.options.limits)).await.map_err(late)?.map(drop)
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        let dir = self.store.job(&job.migration)?;
        if self.living(&dir, job.deadline).await?.is_none() {
            let late = |_| {
                Error::retry(ErrorKind::Timeout, "the copy was not made in time: allow more")
                    .with("deadline", format!("{:?}", job.deadline))
            };
            let made = timeout(job.deadline, self.make(&dir, job, receipts, &transfer)).await.map_err(late);
            if let Err(error) = made.and_then(|made| made) {
                return Err(self.undo(&dir, error).await);
            }
        }
        Ok(Restored { copy: job.copy.clone(), restore: begun.elapsed() })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        Ok(if self.keeper(migration)?.is_some() { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        match self.keeper(migration)? {
            Some(_) => Ok(()),
            None => Err(Error::retry(ErrorKind::NotFound, "the copy is not there").with("migration", migration)),
        }
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let Some(dir) = self.store.existing(migration)? else { return Ok(()) };
        launch::end(&dir, self.options.end_max).await?;
        blocking(move || dir.remove()).await?;
        Ok(())
    }
}
