//! The runtime's side of the gate.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};

use super::wire::{Hello, LINE_BYTES_MAX, Order, Outcome};

/// Where the agent listens.
pub const SOCKET: &str = "/run/ms2m/runtime.sock";
/// How long a runtime waits for its checkpoint. Kubelet gives up its call after two minutes (`runtimeRequestTimeout`), and would not say why.
pub const WAIT_MAX: Duration = Duration::from_secs(105);
/// Between two attempts to reach an agent that is just starting again.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for what the agent has to say, and reports what `obey` makes of it. Blocks; goes on with an agent that was started again, so the same order may come
/// twice, except for the last one: that is any but [`Order::Launch`].
///
/// # Errors
/// When nothing came in time; what `obey` has failed with.
pub fn wait(socket: &Path, hello: &Hello, mut obey: impl FnMut(Order) -> Result<Duration>) -> Result<()> {
    let until = Instant::now() + WAIT_MAX;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = "no checkpoint came for this container; has the migration ended, and does ms2m-agent run on this node?";
            return Err(Error::fatal(ErrorKind::Timeout, message).with("migration", &hello.migration).with("socket", socket.display()));
        }
        match heard(socket, hello, until, &mut obey) {
            Ok((order, stream)) => return answered(obey(order), stream),
            Err(error) => {
                tracing::debug!(%error, "the agent is not there");
                std::thread::sleep(PAUSE.min(left));
            }
        }
    }
}

/// The last order.
fn heard(
    socket: &Path,
    hello: &Hello,
    until: Instant,
    obey: &mut impl FnMut(Order) -> Result<Duration>,
) -> io::Result<(Order, UnixStream)> {
    let mut stream = UnixStream::connect(socket)?;
    say(&mut stream, hello)?;
    let mut from = BufReader::new(stream.try_clone()?.take(2 * LINE_BYTES_MAX));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut line = String::new();
        from.read_line(&mut line)?;
        match serde_json::from_str(&line).map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))? {
            // What is in its way is in that of the restore, too, and is said there.
            order @ Order::Launch { .. } => drop(obey(order)),
            order => return Ok((order, stream)),
        }
    }
}

fn answered(restored: Result<Duration>, mut stream: UnixStream) -> Result<()> {
    let outcome = match &restored {
        Ok(restore) => Outcome::Restored { restore_us: u64::try_from(restore.as_micros()).unwrap_or(u64::MAX) },
        Err(error) => Outcome::Failed { message: error.to_string() },
    };
    // An agent that has gone meanwhile looks for itself when it is back.
    let _ = say(&mut stream, &outcome);
    restored.map(drop)
}

fn say(stream: &mut UnixStream, word: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line)
}
