//! Sends a part: as many connections as it takes, each going on where the last one broke off.

use std::time::{Duration, SystemTime};

use hyper::upgrade::Upgraded;
use hyper::{Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use ms2m_core::{ByteStream, Error, ErrorKind, Result, TransferJob, Verdict};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use crate::connect::{self, Refusal, Target};
use crate::source::Window;
use crate::wire::{ARCHIVE_BYTES, ATTEMPT, CALL, DIGEST, PROTOCOL, Stored, Word, Words, part_path};

/// So much may be on its way, and is kept to be sent again.
const WINDOW_BYTES: u64 = 8 << 20;
/// How long the agent may say nothing when it is its turn.
const WORD_WITHIN: Duration = Duration::from_secs(30);
/// For the last words of an agent that has closed the connection.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);
/// Connections in a row that brought nothing forward.
const ATTEMPTS_MAX: usize = 12;
/// For telling the agent that nothing more will come.
const ABANDON_WITHIN: Duration = Duration::from_secs(5);

/// What has arrived, and how much of it this call has brought.
pub(crate) struct Sent {
    pub(crate) stored: Stored,
    pub(crate) transferred_bytes: u64,
}

pub(crate) async fn send(target: &Target, job: &TransferJob, body: ByteStream) -> Result<Sent> {
    let call = call_name();
    let window = Window::new(body, job.archive_bytes);
    let mut upload = Upload { target, job, call, attempt: 0, window, found_bytes: None, held_bytes: 0, last: None };
    let sent = timeout(job.deadline, upload.run()).await;
    match sent {
        Ok(Ok(stored)) => Ok(Sent { stored, transferred_bytes: job.archive_bytes - upload.found_bytes.unwrap_or(0) }),
        Ok(Err(Failure::Theirs(refusal))) => Err(refusal.error),
        Ok(Err(Failure::Ours(error))) => {
            upload.abandon().await;
            Err(error)
        }
        // What is there stays for the next call to go on with.
        Err(_) => {
            let error = Error::retry(ErrorKind::Timeout, "the checkpoint did not get to the agent in time").with("agent", target.url());
            Err(match upload.last {
                Some(last) => error.caused_by(last),
                None => error,
            })
        }
    }
}

/// Of two calls the later one has the greater number in front, by this machine's clock.
fn call_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:016x}-{:08x}", now.as_micros(), rand::random::<u32>())
}

/// Whose fault it is.
enum Failure {
    /// The body's: no connection helps.
    Ours(Error),
    /// The agent's, or the network's.
    Theirs(Refusal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Theirs(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Theirs(refusal)
    }
}

type Connection = TokioIo<Upgraded>;

struct Upload<'a> {
    target: &'a Target,
    job: &'a TransferJob,
    call: String,
    attempt: u32,
    window: Window,
    /// What earlier calls have left, when this one began.
    found_bytes: Option<u64>,
    /// How much the agent has been known to hold.
    held_bytes: u64,
    /// Why the last connection has ended.
    last: Option<Error>,
}

impl Upload<'_> {
    async fn run(&mut self) -> Result<Stored, Failure> {
        let mut pauses = connect::pauses(ATTEMPTS_MAX);
        loop {
            let before = self.held_bytes;
            let refusal = match self.attempt().await {
                Err(Failure::Theirs(refusal)) if refusal.error.verdict() == Verdict::Retry => refusal,
                ended => return ended,
            };
            self.attempt += 1;
            if self.held_bytes > before {
                // It got forward: no reason to wait.
                pauses = connect::pauses(ATTEMPTS_MAX);
                self.last = Some(refusal.error);
                sleep(refusal.retry_after.unwrap_or_default()).await;
                continue;
            }
            let Some(pause) = pauses.next() else {
                let error = refusal.error.with("attempts", ATTEMPTS_MAX);
                return Err(Failure::Theirs(error.into()));
            };
            tracing::debug!(error = %refusal.error, ?pause, "sending goes on after a pause");
            self.last = Some(refusal.error);
            sleep(pause.max(refusal.retry_after.unwrap_or_default())).await;
        }
    }

    /// One connection.
    async fn attempt(&mut self) -> Result<Stored, Failure> {
        let path = part_path(&self.job.migration, self.job.part);
        let mut request = self
            .target
            .request(Method::POST, &path)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, PROTOCOL)
            .header(ARCHIVE_BYTES, self.job.archive_bytes)
            .header(CALL, &self.call)
            .header(ATTEMPT, self.attempt);
        if let Some(digest) = self.window.whole() {
            request = request.header(DIGEST, digest.to_string());
        }
        let response = self.target.ask(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // It had arrived already, and only the word of it was lost.
            let answer = self.target.whole(response).await?;
            let unknown = |error| Error::undo(ErrorKind::Unsupported, "the agent's answer is not understood").caused_by(error);
            return Ok(serde_json::from_slice(&answer).map_err(unknown)?);
        }
        let connection = hyper::upgrade::on(response).await.map_err(|error| self.target.broken(error))?;
        let (from, mut to) = tokio::io::split(TokioIo::new(connection));
        let mut words = Words::new(from);
        let start = self.agree(&mut words).await?;
        self.found_bytes.get_or_insert(start);
        match self.pour(start, &mut words, &mut to).await {
            Err(Failure::Theirs(refusal)) if refusal.error.kind() == ErrorKind::Unavailable => {
                // Perhaps the agent has said why it closed.
                Err(self.last_word(&mut words).await.map_or(Failure::Theirs(refusal), Failure::from))
            }
            poured => poured,
        }
    }

    /// From where both sides hold the same bytes.
    async fn agree(&mut self, words: &mut Words<ReadHalf<Connection>>) -> Result<u64, Failure> {
        let (mut agreed, mut differ) = ((self.window.start() == 0).then_some(0), false);
        loop {
            match self.word(words).await? {
                Word::Go => break,
                // This side has sent that, and has forgotten it since.
                Word::Mark { bytes, .. } if bytes < self.window.start() => {}
                Word::Mark { bytes, digest } if !differ && bytes <= self.job.archive_bytes => {
                    while self.window.end() < bytes && self.window.pull().await.map_err(Failure::Ours)?.is_some() {}
                    differ = self.window.digest_at(bytes) != Some(digest);
                    if !differ {
                        agreed = Some(bytes);
                        self.window.forget(bytes);
                    }
                }
                Word::Mark { .. } => differ = true,
                Word::Failed(problem) => return Err(Error::from(problem).into()),
                Word::Held { .. } | Word::Working | Word::Done(_) => return Err(confused().into()),
            }
        }
        self.held_bytes = self.held_bytes.max(agreed.unwrap_or(0));
        agreed.ok_or_else(|| {
            let message = "the agent has lost what it had of the checkpoint; send it again from the start";
            Error::retry(ErrorKind::Corrupt, message).judged(Verdict::Undo).into()
        })
    }

    /// Everything from `start` on, then the digest.
    async fn pour(
        &mut self,
        start: u64,
        words: &mut Words<ReadHalf<Connection>>,
        to: &mut WriteHalf<Connection>,
    ) -> Result<Stored, Failure> {
        to.write_u64(start).await.map_err(|error| self.target.broken(error))?;
        for bytes in self.window.from(start) {
            self.write(to, &bytes).await?;
        }
        let mut told = false;
        loop {
            if let (Some(digest), false) = (self.window.whole(), told) {
                self.write(to, digest.as_bytes()).await?;
                told = true;
            }
            let may_pull = !told && self.window.end() - self.window.start() < WINDOW_BYTES;
            tokio::select! {
                word = self::word(self.target, words) => match word? {
                    Word::Held { bytes } => {
                        self.held_bytes = self.held_bytes.max(bytes);
                        self.window.forget(bytes);
                    }
                    Word::Working => {}
                    Word::Done(stored) => return self.check(stored),
                    Word::Failed(problem) => return Err(Error::from(problem).into()),
                    Word::Mark { .. } | Word::Go => return Err(confused().into()),
                },
                piece = self.window.pull(), if may_pull => {
                    if let Some(bytes) = piece.map_err(Failure::Ours)? {
                        self.write(to, &bytes).await?;
                    }
                }
            }
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<Connection>, bytes: &[u8]) -> Result<(), Error> {
        let written = async {
            to.write_all(bytes).await?;
            // Without it, the last records would wait in TLS.
            to.flush().await
        };
        written.await.map_err(|error| self.target.broken(error))
    }

    fn check(&self, stored: Stored) -> Result<Stored, Failure> {
        let ours = self.window.whole();
        if ours == Some(stored.digest) && stored.archive_bytes == self.job.archive_bytes {
            return Ok(stored);
        }
        Err(confused().into())
    }

    async fn word(&self, words: &mut Words<ReadHalf<Connection>>) -> Result<Word, Error> {
        word(self.target, words).await
    }

    async fn last_word(&self, words: &mut Words<ReadHalf<Connection>>) -> Option<Error> {
        let last = async {
            loop {
                match words.next().await {
                    Ok(Some(Word::Failed(problem))) => return Some(Error::from(problem).with("agent", self.target.url())),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return None,
                }
            }
        };
        timeout(LAST_WORD_WITHIN, last).await.ok().flatten()
    }

    /// The agent need not keep what it has of this. Should it not hear of it, it removes it by its age.
    async fn abandon(&self) {
        let path = part_path(&self.job.migration, self.job.part);
        let request = self.target.request(Method::DELETE, &path).header(CALL, &self.call);
        let _ = timeout(ABANDON_WITHIN, self.target.ask(request)).await;
    }
}

async fn word(target: &Target, words: &mut Words<ReadHalf<Connection>>) -> Result<Word, Error> {
    let silent = || Error::retry(ErrorKind::Unavailable, "the agent says nothing any more").with("agent", target.url());
    let word = timeout(WORD_WITHIN, words.next()).await.map_err(|_| silent())?;
    word.map_err(|error| target.broken(error))?
        .ok_or_else(|| Error::retry(ErrorKind::Unavailable, "the agent has closed the connection").with("agent", target.url()))
}

fn confused() -> Error {
    Error::undo(ErrorKind::Invariant, "the agent says what it must not say now; use programs of the same release on all nodes")
}
