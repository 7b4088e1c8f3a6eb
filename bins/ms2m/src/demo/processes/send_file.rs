//! What a publisher does, as lines of a file that the auditor follows.
//!
//! | line | means |
//! |---|---|
//! | `s SEQ DIGEST MICROSECONDS` | about to be sent, at that time |
//! | `c SEQ` | confirmed |
//! | `u SEQ` | about to be sent once more: the confirm was lost |
//! | `d` | all done |

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use ms2m_core::{Clock as _, Digest, Error, ErrorKind, Result, SystemClock, Timestamp};
use ms2m_testkit::workload::SendLog;

use crate::demo::judge::Judge;

/// The publisher's side. Each line is written at once: what the broker may know is in the file before.
#[derive(Debug)]
pub(super) struct SendFile(File);

impl SendFile {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::options().append(true).create(true).open(path);
        file.map(Self).map_err(|error| failed(path, error))
    }

    fn line(&self, line: &str) {
        if let Err(error) = (&self.0).write_all(line.as_bytes()) {
            // The auditor would find messages nobody sent. Better to end here, loudly.
            tracing::error!(%error, "the publisher's log cannot be written");
            std::process::exit(1);
        }
    }

    pub(super) fn done(&self) {
        self.line("d\n");
    }
}

impl SendLog for SendFile {
    fn sent(&self, _: &str, seq: u64, body: Digest) {
        self.line(&format!("s {seq} {} {}\n", body, SystemClock.now().as_micros()));
    }

    fn confirmed(&self, _: &str, seq: u64) {
        self.line(&format!("c {seq}\n"));
    }

    fn uncertain(&self, _: &str, seq: u64) {
        self.line(&format!("u {seq}\n"));
    }
}

/// The auditor's side.
#[derive(Debug)]
pub(super) struct SendFileReader {
    publisher: String,
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    rest: String,
    done: bool,
}

impl SendFileReader {
    pub(super) fn new(publisher: String, path: PathBuf) -> Self {
        Self { publisher, path, file: None, rest: String::new(), done: false }
    }

    pub(super) fn publisher(&self) -> &str {
        &self.publisher
    }

    /// Whether the publisher has said that all is done.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Tells the judge what is new.
    pub(super) fn follow(&mut self, judge: &Judge) -> Result<()> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.read_to_string(&mut self.rest).map_err(|error| failed(&self.path, error))?;
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.rest.drain(..whole).collect();
        for line in lines.lines() {
            if self.tell(line, judge).is_none() {
                return Err(Error::fatal(ErrorKind::Corrupt, "unreadable line in a publisher's log")
                    .with("file", self.path.display())
                    .with("line", line));
            }
        }
        Ok(())
    }

    fn tell(&mut self, line: &str, judge: &Judge) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        if what == "d" {
            self.done = true;
            return Some(());
        }
        let seq = words.next()?.parse().ok()?;
        match what {
            "s" => {
                let digest = words.next()?.parse().ok()?;
                let at = Timestamp::from_micros(words.next()?.parse().ok()?);
                judge.sent_at(&self.publisher, seq, digest, at);
            }
            "c" => judge.confirmed(&self.publisher, seq),
            "u" => judge.uncertain(&self.publisher, seq),
            _ => return None,
        }
        Some(())
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::fatal(ErrorKind::Other, "a publisher's log cannot be read or written").with("file", path.display()).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_judge_hears_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.log");
        let judge = Judge::new(Arc::new(SystemClock));
        let mut reader = SendFileReader::new("p".into(), path.clone());
        reader.follow(&judge).unwrap();
        let file = SendFile::create(&path).unwrap();
        file.sent("p", 1, Digest::of(b"1"));
        file.confirmed("p", 1);
        file.line("s 2 ");
        reader.follow(&judge).unwrap();
        assert_eq!((judge.sent(), judge.under_way()), (1, 1));
        file.line(&format!("{} 5\n", Digest::of(b"2")));
        file.done();
        reader.follow(&judge).unwrap();
        assert_eq!((judge.sent(), reader.is_done()), (2, true));
        file.line("nonsense\n");
        assert!(reader.follow(&judge).is_err());
    }
}
