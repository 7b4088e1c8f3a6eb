//! CRIU, spoken to through its RPC: one `criu swrk` process for each call.
//!
//! - [`Criu::dump`], [`Criu::pre_dump`] and [`Criu::restore`] take their options, and end within their deadline.
//! - A restore that is given up (its deadline passes, its future is dropped) is killed and waited for. A dump is not: a CRIU that is
//!   killed while its code is in the source's tasks ends the source. It loses its socket, undoes everything and ends; see
//!   [`Criu::settle`]. `kill -9` from elsewhere remains a danger, so a CRIU that dumps is taken out of the OOM killer's sight, and is deaf
//!   to the signals by which a service is stopped.
//! - [`DumpStats`] are CRIU's own figures. The freeze is the time in which any task stood still, [`DumpStats::freeze`].
//! - [`CriuError`] quotes CRIU's log and says what to do about it.
//!
//! CRIU reads `/etc/criu/default.conf`, whose lines win over the options here.

mod call;
mod cause;
mod error;
mod lingering;
mod log;
mod options;
mod probe;
mod session;
mod standby;
mod stats;
pub(crate) mod temporary;
mod wire;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ms2m_core::Error;
use rustix::fs::{Mode, OFlags};
use tokio::time::timeout;

use call::{Call, fresh_log, nothing};
pub use cause::Cause;
pub use error::CriuError;
use lingering::Lingering;
pub use options::{DumpOptions, ManageCgroups, NetworkLock, RestoreOptions};
pub use probe::{CheckOutput, Features, Version};
use session::Session;
use standby::Standby;
pub use stats::DumpStats;
use wire::{Request, RequestType};

/// A CRIU program, and how it is started.
#[derive(Clone, Debug)]
pub struct Criu {
    program: PathBuf,
    launcher: Vec<OsString>,
    output: Option<PathBuf>,
    lingering: Lingering,
    standby: Standby,
}

/// What [`Criu::restore`] has made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoredTree {
    /// The root of the tree, in the pid namespace of CRIU.
    pub pid: u32,
    /// The process that CRIU has become by [`RestoreOptions::exec`], or its launcher. It is this process' child, and is reaped by itself.
    pub parent: Option<u32>,
}

impl Default for Criu {
    fn default() -> Self {
        Self::new("criu")
    }
}

impl Criu {
    /// This program; a bare name is looked for in `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), launcher: Vec::new(), output: None, lingering: Lingering::default(), standby: Standby::default() }
    }

    /// Starts it by this command, to which the program and its arguments are appended: `unshare …`, `nsenter …`. The command must pass
    /// its standard input on, and die with CRIU and CRIU with it.
    #[must_use]
    pub fn launched_by(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.launcher = command.into_iter().map(Into::into).collect();
        self
    }

    /// Opens this file (made when missing, appended to) as its standard output and error, for [`RestoreOptions::inherit_fds`].
    #[must_use]
    pub fn output(mut self, file: impl Into<PathBuf>) -> Self {
        self.output = Some(file.into());
        self
    }

    /// The same, but what [stands by](Self::stand_by) is not shared with the one that this is made of.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { standby: Standby::default(), ..self }
    }

    /// Has a process ready for the next [`dump`](Self::dump), which begins some milliseconds earlier then. Clones share it. Where that cannot be, nothing is ready, and the dump
    /// says why.
    pub fn stand_by(&self) {
        self.standby.put(Session::start(self, "dump", true).ok());
    }

    /// Nobody will dump soon.
    pub fn stand_down(&self) {
        self.standby.put(None);
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Dumps a tree. `while_frozen` is called when everything is dumped and the tasks still stand still: the moment to copy what must
    /// fit to the memory (files, a writable layer). Its time counts as freeze.
    ///
    /// # Errors
    /// The source goes on when CRIU, or `while_frozen`, fails. What was written into the directory stays.
    pub async fn dump<F, Fut>(&self, options: &DumpOptions, while_frozen: F) -> Result<DumpStats, CriuError>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        self.take("dump", RequestType::Dump, options, |_| while_frozen()).await
    }

    /// Writes the memory of a tree that goes on meanwhile, and begins to track what it changes.
    ///
    /// # Errors
    /// As with [`dump`](Self::dump); [`Cause::NoMemTrack`] where the kernel cannot track.
    pub async fn pre_dump(&self, options: &DumpOptions) -> Result<DumpStats, CriuError> {
        let options = DumpOptions { track_mem: true, leave_running: true, ..options.clone() };
        self.take("pre-dump", RequestType::SinglePreDump, &options, nothing).await
    }

    async fn take<F, Fut>(&self, operation: &'static str, kind: RequestType, options: &DumpOptions, work: F) -> Result<DumpStats, CriuError>
    where
        F: FnOnce(u32) -> Fut + Send,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        self.settle(options.deadline).await?;
        let work_dir = options.work_dir.as_deref().unwrap_or(&options.images_dir);
        let log = fresh_log(&options.images_dir, work_dir, &options.log_file)?;
        let images = self.images(&options.images_dir)?;
        let directory = options.work_dir.as_deref().map(open_directory).transpose()?;
        let mut wire = options.wire(images.as_ref().map(|fd| fd.as_raw_fd()), directory.as_ref().map(|fd| fd.as_raw_fd()));
        wire.notify_scripts = Some(true);
        let call = Call { criu: self, operation, kind, deadline: options.deadline, log: Some(log), moment: "post-dump" };
        let request = Request { kind: kind.into(), options: Some(Box::new(wire)), ..Request::default() };
        let (_, mut session) = call.perform(request, work).await?;
        session.finish().await;
        DumpStats::read(work_dir)
    }

    /// Restores a tree. `before_resume` is called with the root's process id (as CRIU sees it) when the tree is complete and has not
    /// executed anything yet.
    ///
    /// # Errors
    /// CRIU kills what it has restored when it or `before_resume` fails. After [`CriuError::Died`], [`CriuError::Deadline`] and a dropped
    /// future something may be left: restore into a pid namespace that ends with CRIU or its launcher, or look for it.
    pub async fn restore<F, Fut>(&self, options: &RestoreOptions, before_resume: F) -> Result<RestoredTree, CriuError>
    where
        F: FnOnce(u32) -> Fut + Send,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        let work_dir = options.work_dir.as_deref().unwrap_or(&options.images_dir);
        let log = fresh_log(&options.images_dir, work_dir, &options.log_file)?;
        let images = self.images(&options.images_dir)?;
        let directory = options.work_dir.as_deref().map(open_directory).transpose()?;
        let mut wire = options.wire(images.as_ref().map(|fd| fd.as_raw_fd()), directory.as_ref().map(|fd| fd.as_raw_fd()));
        wire.notify_scripts = Some(true);
        let kind = RequestType::Restore;
        let call = Call { criu: self, operation: "restore", kind, deadline: options.deadline, log: Some(log), moment: "post-restore" };
        let request = Request { kind: kind.into(), options: Some(Box::new(wire)), ..Request::default() };
        let (answer, mut session) = call.perform(request, before_resume).await?;
        let pid = answer.restore.and_then(|restored| u32::try_from(restored.pid).ok());
        let pid = pid.ok_or_else(|| CriuError::Answer { operation: "restore", why: "it names no process".to_owned() })?;
        let parent = session.pid().filter(|_| !options.exec.is_empty());
        match parent {
            Some(_) => session.let_go(),
            None => drop(session.finish().await),
        }
        Ok(RestoredTree { pid, parent })
    }

    /// Waits until no CRIU of an abandoned dump runs any more: its directory may be removed then, and the source dumped again. A dump
    /// does so by itself. Clones share what is waited for.
    ///
    /// # Errors
    /// [`CriuError::Deadline`].
    pub async fn settle(&self, deadline: Duration) -> Result<(), CriuError> {
        let late = |_| CriuError::Deadline { operation: "last dump", deadline, log: Vec::new() };
        timeout(deadline, self.lingering.none()).await.map_err(late)
    }

    fn command(&self) -> Command {
        match self.launcher.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        }
    }

    /// CRIU before 4.2 cannot be told the directory by its name, and finds a descriptor only if it sees this process.
    fn images(&self, directory: &Path) -> Result<Option<rustix::fd::OwnedFd>, CriuError> {
        self.launcher.is_empty().then(|| open_directory(directory)).transpose()
    }

    fn first_program(&self) -> PathBuf {
        self.launcher.first().map_or_else(|| self.program.clone(), PathBuf::from)
    }

    fn output_file(&self) -> io::Result<Option<(Stdio, Stdio)>> {
        let Some(path) = &self.output else { return Ok(None) };
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Some((file.try_clone()?.into(), file.into())))
    }
}

fn open_directory(path: &Path) -> Result<rustix::fd::OwnedFd, CriuError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| CriuError::io("opening a work directory", path, error))
}
