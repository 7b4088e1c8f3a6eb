//! A program that does the work, with a deadline.

use std::process::{Output, Stdio};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Of what a program says before it fails.
const SAID_BYTES_MAX: usize = 1000;

/// A program, and what to do when something is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    /// When the program is not there.
    pub(crate) install: &'static str,
    /// When it fails.
    pub(crate) remedy: &'static str,
}

impl Tool {
    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(self.program);
        // Dropped with its future.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) fn start(self, command: &mut Command) -> Result<Child> {
        command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::undo(ErrorKind::Unsupported, self.install).with("program", self.program),
            _ => Error::undo(ErrorKind::Other, "a program cannot be started").with("program", self.program).caused_by(error),
        })
    }

    /// Waits for its end, good or bad.
    pub(crate) async fn end(self, child: Child, within: Duration) -> Result<Output> {
        let late = |_| {
            let message = "the image store does not end in its time; see what holds it up, or give it more";
            Error::undo(ErrorKind::Timeout, message).with("program", self.program).with("within_s", within.as_secs())
        };
        let ended = timeout(within, child.wait_with_output()).await.map_err(late)?;
        ended
            .map_err(|error| Error::undo(ErrorKind::Other, "a program cannot be waited for").with("program", self.program).caused_by(error))
    }

    /// Its output, if it has ended well.
    pub(crate) fn good(self, output: &Output) -> Result<String> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::undo(ErrorKind::Other, self.remedy)
            .with("program", self.program)
            .with("status", output.status)
            .with("says", said(output)))
    }

    pub(crate) async fn run(self, command: &mut Command, within: Duration) -> Result<String> {
        let child = self.start(command)?;
        self.good(&self.end(child, within).await?)
    }
}

/// The end of what it has complained of, in one line.
pub(crate) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let from = text.len().saturating_sub(SAID_BYTES_MAX);
    let from = (from..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[from..].to_owned()
}
