//! Calls of an OCI runtime's command line, each with a deadline.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use tokio::process::Command;

use super::Runtime;

/// Longest piece of a runtime's own words that goes into an error, in bytes.
const WORDS_MAX: usize = 2000;

/// What a call that has ended left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Whether it ended with status 0.
    pub(crate) success: bool,
    /// Its standard output.
    pub(crate) stdout: Vec<u8>,
    /// The end of its standard error.
    pub(crate) words: String,
}

impl Runtime {
    /// The program with its global options.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            command.arg("--root").arg(root);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command that only answers.
    pub(crate) async fn ask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, deadline: Duration) -> Result<Finished> {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("{} {}", self.flavor, first_word(&command));
        let output = match tokio::time::timeout(deadline, command.output()).await {
            Err(_) => return Err(hangs(&what, deadline)),
            Ok(output) => output.map_err(|error| self.cannot_start(error))?,
        };
        Ok(Finished { success: output.status.success(), stdout: output.stdout, words: last_words(&output.stderr) })
    }

    /// Runs a command that must succeed.
    pub(crate) async fn order<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, deadline: Duration) -> Result<Finished> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let finished = self.ask(&args, deadline).await?;
        if finished.success {
            return Ok(finished);
        }
        let message = format!("{} {} failed: {}", self.flavor, args[0].display(), finished.words);
        Err(Error::undo(ErrorKind::Other, message))
    }

    pub(crate) fn cannot_start(&self, error: std::io::Error) -> Error {
        let message = format!("{} cannot be started; install it or name its program", self.flavor);
        Error::fatal(ErrorKind::Unsupported, message).with("program", self.program.display()).caused_by(error)
    }
}

pub(crate) fn hangs(what: &str, deadline: Duration) -> Error {
    let message = format!("{what} has not ended in time and was killed");
    Error::undo(ErrorKind::Timeout, message).with("deadline_s", deadline.as_secs_f64())
}

/// The end of what a program complained about, in one line.
pub(crate) fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(WORDS_MAX)..]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_word(command: &Command) -> String {
    let mut words = command.as_std().get_args().skip_while(|arg| *arg == "--root").map(|arg| arg.to_string_lossy().into_owned());
    words.find(|word| !word.starts_with('/')).unwrap_or_default()
}
