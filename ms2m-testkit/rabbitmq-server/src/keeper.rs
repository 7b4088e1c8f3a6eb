//! The process between a test and its RabbitMQ.
//!
//! It holds the read end of a pipe from the test. A line on it says how to stop; its end means that the test process is gone,
//! however it ended, SIGKILL included: then the broker is killed and its directory removed. A parent-death signal instead of
//! the pipe would fire when the *thread* that started the server ends, which for a server shared by tests is the first test.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::StartError;

/// An ignored signal stays ignored in what is started, so that RabbitMQ's start script could not trap it: hence the reset.
/// `setsid` puts RabbitMQ's start script, the Erlang VM and its helpers into a process group of their own, to be ended as one.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
directory=$1; shift
(trap - INT TERM HUP; exec setsid "$@") </dev/null >>"$directory/log" 2>&1 &
server=$!
echo "$server" >"$directory/server"
read -r how || how=gone
case $how in
term) kill -TERM "$server"; wait "$server" ;;
*) kill -s KILL -- "-$server" 2>/dev/null; wait "$server" ;;
esac 2>/dev/null
[ "$how" != gone ] || rm -rf "$directory"
"#;

/// Runs a server until told otherwise.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: Child,
}

impl Keeper {
    /// Starts `command` with what `prepare` adds to its environment.
    pub(crate) fn start(directory: &Path, command: &Path, prepare: impl FnOnce(&mut Command)) -> Result<Self, StartError> {
        let mut keeper = Command::new("/bin/sh");
        keeper.arg("-c").arg(SCRIPT).arg("rabbitmq-keeper").arg(directory).arg(command);
        // A group of its own: an interrupt from the terminal must reach the test first.
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).current_dir(directory);
        prepare(&mut keeper);
        Ok(Self { process: keeper.spawn().map_err(StartError::io("run", "/bin/sh"))? })
    }

    /// Ends the server and waits until it is gone; the directory stays. `how` is `term` or `kill`.
    pub(crate) fn stop(mut self, how: &str) {
        if let Some(mut pipe) = self.process.stdin.take() {
            // A keeper that is gone already has nothing left to stop.
            let _ = writeln!(pipe, "{how}");
        }
        let _ = self.process.wait();
    }

    /// Kills the server and removes its directory.
    pub(crate) fn clear(mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
