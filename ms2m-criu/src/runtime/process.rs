//! A process that cannot be taken for another one.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

const LOOK: Duration = Duration::from_millis(2);

/// A process, held by a pidfd: its number may be given to another one, this handle not.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    /// The process with this number; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel gives no handle to it for another reason.
    pub fn open(pid: i32) -> Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(None) };
        match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) => Ok(Some(Self { pid: number, handle })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(Error::retry(ErrorKind::Other, "no handle to the process could be had").with("pid", pid).caused_by(error)),
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether any thread of it is left.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn is_alive(&self) -> Result<bool> {
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        let ready = rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        match ready {
            Ok(ready) => Ok(ready == 0),
            Err(error) => Err(Error::retry(ErrorKind::Other, "the kernel does not say whether the process lives").caused_by(error)),
        }
    }

    /// Ends it, whatever it does. One that has ended already is `Ok`.
    ///
    /// # Errors
    /// When it may not be signalled.
    pub fn kill(&self) -> Result<()> {
        match rustix::process::pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::retry(ErrorKind::Other, "the process could not be ended").with("pid", self.pid()).caused_by(error)),
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`].
    pub async fn ended(&self, deadline: Duration) -> Result<()> {
        let ended = async {
            while self.is_alive()? {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(deadline, ended)
            .await
            .unwrap_or_else(|_| Err(Error::retry(ErrorKind::Timeout, "the process was killed but has not ended").with("pid", self.pid())))
    }
}
