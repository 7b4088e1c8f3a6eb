//! A container beside this one, which is asked over one connection that is never made again.

use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Containers of a pod start one after the other.
const COMES_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// A `tally`, and how often it was asked.
#[derive(Debug)]
pub(crate) struct Beside {
    stream: BufStream<TcpStream>,
    asked: u64,
}

impl Beside {
    /// Waits until it is there.
    ///
    /// # Errors
    /// When it does not come.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(Self { stream: BufStream::new(stream), asked: 0 }),
                Err(error) if begun.elapsed() > COMES_WITHIN => {
                    let message = "nobody listens beside this container; start a tally there";
                    return Err(Error::fatal(ErrorKind::Unavailable, message).with("address", address).caused_by(error));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Asks once more. Both must have counted the same.
    pub(crate) async fn ask(&mut self, what: &str) -> std::io::Result<()> {
        self.asked += 1;
        self.stream.write_all(format!("{what}\n").as_bytes()).await?;
        self.stream.flush().await?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).await?;
        if answer.trim_end().parse() == Ok(self.asked) {
            return Ok(());
        }
        Err(std::io::Error::other(format!("asked {} times, and it says `{}`", self.asked, answer.trim_end())))
    }
}
