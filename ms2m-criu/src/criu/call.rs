//! The course of one call: request, notifications, answer; always with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind};
use tokio::time::{Instant, timeout_at};

use super::Criu;
use super::cause::Cause;
use super::error::CriuError;
use super::log;
use super::session::{Incoming, Session};
use super::wire::{Request, RequestType, Response};
use crate::priority::hurry;

/// After the deadline, for CRIU to undo in good order what it was asked to give up.
const GRACE: Duration = Duration::from_secs(5);

/// One call to CRIU.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) criu: &'a Criu,
    pub(super) operation: &'static str,
    pub(super) kind: RequestType,
    pub(super) deadline: Duration,
    /// Where CRIU's log will be, if it writes one.
    pub(super) log: Option<PathBuf>,
    /// The notification for which the caller has work to do.
    pub(super) moment: &'static str,
}

impl Call<'_> {
    /// Performs it. `work` is called at most once, with the process id of the notification.
    pub(super) async fn perform<F, Fut>(&self, request: Request, work: F) -> Result<(Response, Session), CriuError>
    where
        F: FnOnce(u32) -> Fut + Send,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        let end = Instant::now() + self.deadline;
        let whole = self.kind == RequestType::Dump;
        let (standby, gentle) = (if whole { self.criu.standby.take() } else { None }, whole || self.kind == RequestType::SinglePreDump);
        let mut session = standby.map_or_else(|| Session::start(self.criu, self.operation, gentle), Ok)?;
        // The others do not have the tree stand still, or leave a process behind.
        if whole {
            hurry(session.pid());
        }
        timeout_at(end, session.send(&request)).await.map_err(|_| self.late())??;
        let (mut work, mut refused, mut limit) = (Some(work), None, end);
        loop {
            let incoming = timeout_at(limit, session.receive()).await.map_err(|_| refused.take().unwrap_or_else(|| self.late()))??;
            let answer = match incoming {
                Incoming::Answer(answer) => answer,
                Incoming::End => return Err(self.died(&mut session).await),
            };
            if answer.kind != i32::from(RequestType::Notify) {
                return match refused {
                    Some(refused) => {
                        session.finish().await;
                        Err(refused)
                    }
                    None => self.judge(answer, session).await,
                };
            }
            let notification = answer.notify.unwrap_or_default();
            let mine = notification.script.as_deref() == Some(self.moment);
            if let Some(work) = work.take_if(|_| mine) {
                let pid = notification.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                let done = timeout_at(end, work(pid)).await;
                refused = done
                    .unwrap_or_else(|_| Err(Error::retry(ErrorKind::Timeout, "it took too long")))
                    .map_err(CriuError::WhileFrozen)
                    .err();
                if refused.is_some() {
                    limit = Instant::now() + GRACE;
                }
            }
            session.acknowledge(refused.is_none()).await?;
        }
    }

    async fn judge(&self, answer: Response, mut session: Session) -> Result<(Response, Session), CriuError> {
        if answer.kind != i32::from(self.kind) && answer.success {
            let why = format!("an answer of type {} to a request of type {}", answer.kind, i32::from(self.kind));
            return Err(CriuError::Answer { operation: self.operation, why });
        }
        if answer.success {
            return Ok((answer, session));
        }
        session.finish().await;
        let log = self.quoted();
        // Where the capability CAP_SYS_RESOURCE is missing it always says so first, and goes on.
        let message = answer.message.filter(|message| !message.contains("RLIMIT_NOFILE"));
        let cause = cause(&log, message.as_deref());
        Err(CriuError::Failed { operation: self.operation, errno: answer.errno, message, cause, log })
    }

    async fn died(&self, session: &mut Session) -> CriuError {
        let status = session.finish().await;
        session.kill_rest();
        let how = status.map_or_else(|| "it closed its socket and was killed".to_owned(), |status| status.to_string());
        let words = session.words();
        let how = words.as_deref().map_or_else(|| how.clone(), |words| format!("{how}, it says {words:?}"));
        let log = self.quoted();
        CriuError::Died { operation: self.operation, how, cause: cause(&log, words.as_deref()), log }
    }

    fn late(&self) -> CriuError {
        CriuError::Deadline { operation: self.operation, deadline: self.deadline, log: self.quoted() }
    }

    fn quoted(&self) -> Vec<String> {
        self.log.as_deref().map(log::errors).unwrap_or_default()
    }
}

fn cause(log: &[String], message: Option<&str>) -> Option<Cause> {
    Cause::of(&log.iter().map(String::as_str).chain(message).collect::<Vec<_>>())
}

/// No work to be done.
pub(super) fn nothing(_pid: u32) -> std::future::Ready<Result<(), Error>> {
    std::future::ready(Ok(()))
}

/// A log that an earlier call left would be quoted as this one's, and CRIU has no words for a directory that is missing.
pub(super) fn fresh_log(images_dir: &Path, work_dir: &Path, name: &str) -> Result<PathBuf, CriuError> {
    for directory in [images_dir, work_dir] {
        std::fs::read_dir(directory).map_err(|error| CriuError::io("opening a directory for CRIU", directory, error))?;
    }
    let path = work_dir.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CriuError::io("removing an old log", path, error)),
        _ => Ok(path),
    }
}
