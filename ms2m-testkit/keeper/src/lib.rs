//! [`Keeper`]: the process between a test and a server that the test has started.
//!
//! It holds the read end of a pipe from the test. A line on it says how to stop; its end means that the test process is gone,
//! however it ended, SIGKILL included: then the server is killed and its directory removed. A parent-death signal instead of
//! the pipe would fire when the *thread* that started the server ends, which for a server shared by tests is the first test.
#![deny(missing_docs)]

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// An ignored signal stays ignored in what is started, so that a start script could not trap it: hence the reset.
/// `setsid` puts the server and its helpers into a process group of their own, to be ended as one.
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
pub struct Keeper {
    process: Child,
}

impl Keeper {
    /// Starts `command` with the arguments and the environment that `prepare` adds. The server's output goes to the file `log` in
    /// `directory`, its process number to the file `server`.
    ///
    /// # Errors
    /// When `/bin/sh` cannot be started.
    pub fn start(directory: &Path, command: &Path, prepare: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut keeper = Command::new("/bin/sh");
        keeper.arg("-c").arg(SCRIPT).arg("keeper").arg(directory).arg(command);
        // A group of its own: an interrupt from the terminal must reach the test first.
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).current_dir(directory);
        prepare(&mut keeper);
        Ok(Self { process: keeper.spawn()? })
    }

    /// Ends the server and waits until it is gone; the directory stays. `how` is `term` or `kill`.
    pub fn stop(mut self, how: &str) {
        if let Some(mut pipe) = self.process.stdin.take() {
            // A keeper that is gone already has nothing left to stop.
            let _ = writeln!(pipe, "{how}");
        }
        let _ = self.process.wait();
    }

    /// Kills the server and removes its directory.
    pub fn clear(mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
