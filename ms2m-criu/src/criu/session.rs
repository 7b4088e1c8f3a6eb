//! One CRIU process for one call, and the messages to and from it.
//!
//! `criu swrk 0` speaks on its standard input, which is one end of a pair of sockets. So nothing has to be inherited but stdio.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use prost::Message;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::Criu;
use super::error::CriuError;
use super::lingering::{Lingering, kill};
use super::wire::{Request, RequestType, Response};

/// Answers are some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a CRIU whose work is over may take to vanish.
const END_MAX: Duration = Duration::from_secs(2);

/// What can be read from CRIU.
#[derive(Debug)]
pub(super) enum Incoming {
    Answer(Response),
    /// It has closed its end.
    End,
}

/// A running CRIU. Dropped, it is ended: killed and waited for, or left to undo what it does to the source.
#[derive(Debug)]
pub(super) struct Session {
    operation: &'static str,
    socket: Option<UnixStream>,
    child: Option<Child>,
    group: Option<rustix::process::Pid>,
    words: Option<File>,
    /// Set where it must not be killed.
    gentle: Option<Lingering>,
}

impl Session {
    pub(super) fn start(criu: &Criu, operation: &'static str, gentle: bool) -> Result<Self, CriuError> {
        let failed = |error: io::Error| CriuError::io("preparing a socket for CRIU", criu.program(), error);
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|error| failed(error.into()))?;
        // Records and no stream, but tokio has a type for streams only; reading and writing are rustix' own.
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true).map_err(failed)?;
        let socket = UnixStream::from_std(ours).map_err(failed)?;
        let command = if gentle { deaf(&criu.command()) } else { criu.command() };
        let (mut command, words) = (command, tempfile::tempfile().map_err(failed)?);
        command.args(["swrk", "0"]).stdin(Stdio::from(theirs));
        let words = match criu.output_file().map_err(failed)? {
            Some((stdout, stderr)) => {
                command.stdout(stdout).stderr(stderr);
                None
            }
            None => {
                command.stdout(Stdio::null()).stderr(words.try_clone().map_err(failed)?);
                Some(words)
            }
        };
        // An interrupt from the terminal must not reach it: killed in the middle of a dump it would end the source.
        let spawned = Command::from(command).process_group(0).spawn();
        let child = spawned.map_err(|source| CriuError::Start { program: criu.first_program(), source })?;
        let group = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?));
        if gentle && let Some(pid) = child.id() {
            // The one that kills without warning; see `lingering`. Where that is not allowed, the danger stays.
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "-1000");
        }
        let gentle = gentle.then(|| criu.lingering.clone());
        Ok(Self { operation, socket: Some(socket), child: Some(child), group, words, gentle })
    }

    /// The process that was started: CRIU, or what launches it.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    pub(super) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(super) async fn send(&self, request: &Request) -> Result<(), CriuError> {
        let bytes = request.encode_to_vec();
        let Some(socket) = &self.socket else { return Ok(()) };
        let sent = socket.async_io(Interest::WRITABLE, || Ok(rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?)).await;
        match sent {
            // It has ended before it was asked; reading then says how.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            other => other.map(|_| ()).map_err(|error| CriuError::io("sending a request to CRIU", "its socket", error)),
        }
    }

    pub(super) async fn receive(&mut self) -> Result<Incoming, CriuError> {
        let Some(socket) = &self.socket else { return Ok(Incoming::End) };
        let mut bytes = vec![0; ANSWER_BYTES_MAX];
        let mut receive = || Ok(rustix::net::recv(socket, bytes.as_mut_slice(), RecvFlags::TRUNC)?.1);
        let received = tokio::select! {
            biased;
            received = socket.async_io(Interest::READABLE, &mut receive) => received,
            // A child of its own may outlive it and hold the socket open.
            () = ended(self.child.as_mut()) => receive(),
        };
        let nonsense = |why: String| CriuError::Answer { operation: self.operation, why };
        match received {
            Ok(0) => Ok(Incoming::End),
            Ok(length) => {
                let message = bytes.get(..length).ok_or_else(|| nonsense(format!("{length} bytes, more than {ANSWER_BYTES_MAX}")))?;
                Response::decode(message).map(Incoming::Answer).map_err(|error| nonsense(error.to_string()))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::WouldBlock) => Ok(Incoming::End),
            Err(error) => Err(CriuError::io("reading CRIU's answer", "its socket", error)),
        }
    }

    pub(super) async fn acknowledge(&self, success: bool) -> Result<(), CriuError> {
        let request = Request { kind: RequestType::Notify.into(), notify_success: Some(success), ..Request::default() };
        self.send(&request).await
    }

    /// Waits for its end in good order; one that does not end is killed.
    pub(super) async fn finish(&mut self) -> Option<ExitStatus> {
        self.socket = None;
        let status = match &mut self.child {
            Some(child) => tokio::time::timeout(END_MAX, child.wait()).await.ok().and_then(Result::ok),
            None => None,
        };
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Kills the children that it has left when it was killed itself.
    pub(super) fn kill_rest(&self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    /// Lets the process go on: it is no CRIU any more.
    pub(super) fn let_go(&mut self) {
        self.child = None;
    }

    /// What it wrote on its standard error, before it had a log.
    pub(super) fn words(&mut self) -> Option<String> {
        let file = self.words.as_mut()?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(2_000).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().replace('\n', " | ");
        (!text.is_empty()).then_some(text)
    }
}

/// The same command, which no signal ends that asks for it: whoever stops a service with all of its processes (systemd does) would end
/// the source with CRIU. It loses its socket then, and ends by itself.
fn deaf(command: &std::process::Command) -> std::process::Command {
    let mut deaf = std::process::Command::new("/bin/sh");
    deaf.args(["-c", "trap '' HUP INT QUIT TERM; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    deaf
}

async fn ended(child: Option<&mut Child>) {
    match child {
        Some(child) => drop(child.wait().await),
        None => std::future::pending().await,
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.socket = None;
        match &self.gentle {
            Some(lingering) => lingering.keep(child),
            None => kill(&mut child),
        }
    }
}
