//! The application: state, and how a message changes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use ms2m_consumer::{Context, Determinism, Effects, Handler, Message};
use ms2m_core::{Error, ErrorKind, Result};

use crate::beside::Beside;

/// How often each key was seen.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    counts: BTreeMap<String, u64>,
    /// Memory that is only held, as the caches and indexes of a real service would be. Each message writes a page of it.
    ballast: Vec<u8>,
    /// Gets each count as a line.
    ledger: Option<File>,
    /// Counts the messages, too.
    beside: Option<Beside>,
}

const PAGE_BYTES: usize = 4096;

impl Counter {
    /// With so much memory beside the counts.
    pub(crate) fn with_ballast(mebibytes: usize) -> Self {
        // Not zeros: those would be left out of a checkpoint.
        let ballast = (0..mebibytes << 20).map(|at| (at / 7 + at / PAGE_BYTES) as u8 | 1).collect();
        Self { ballast, ..Self::default() }
    }

    /// Writes down each count in this file, too.
    pub(crate) fn with_ledger(mut self, file: &Path) -> Result<Self> {
        let opened = File::options().create(true).append(true).open(file);
        let cannot = |error| Error::fatal(ErrorKind::Invalid, "the ledger cannot be opened").with("file", file.display()).caused_by(error);
        self.ledger = Some(opened.map_err(cannot)?);
        Ok(self)
    }

    /// Has this one number each message.
    pub(crate) fn with_beside(mut self, beside: Beside) -> Self {
        self.beside = Some(beside);
        self
    }

    fn write_down(&mut self, key: &str, count: u64) {
        if let Some(ledger) = &mut self.ledger {
            let line = format!("{key}={count}\n");
            // A count that is not written down must not be taken for done.
            ledger.write_all(line.as_bytes()).expect("the ledger can be written");
        }
    }

    fn touch(&mut self, count: u64) {
        let pages = self.ballast.len() / PAGE_BYTES;
        if pages > 0 {
            let page = usize::try_from(count).unwrap_or_default() % pages;
            self.ballast[page * PAGE_BYTES] = self.ballast[page * PAGE_BYTES].wrapping_add(2);
        }
    }
}

impl Handler for Counter {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, _: &mut Context<'_>) -> Effects {
        let properties = &message.properties;
        let key = properties.kind.as_ref().unwrap_or(&properties.routing_key);
        let count = self.counts.entry(key.clone()).or_default();
        *count += 1;
        let count = *count;
        self.touch(count);
        self.write_down(key, count);
        if let Some(beside) = &mut self.beside {
            // It moves with this one, so it has counted the same.
            beside.ask(key).await.expect("the one beside has counted the same");
        }
        let id = properties.message_id.as_deref().unwrap_or_default();
        Effects::one(format!("{key}={count} {id}"))
    }

    fn snapshot(&self) -> Result<Bytes> {
        let bytes = postcard::to_stdvec(&self.counts);
        bytes.map(Bytes::from).map_err(|error| Error::fatal(ErrorKind::Other, "the counts cannot be encoded").caused_by(error))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let counts = postcard::from_bytes(bytes);
        self.counts = counts.map_err(|error| Error::undo(ErrorKind::Corrupt, "these are no counts").caused_by(error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_a_snapshot() {
        let counter = Counter { counts: BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 1)]), ..Counter::default() };
        let mut copy = Counter::default();
        copy.restore(&counter.snapshot().unwrap()).unwrap();
        assert_eq!(copy.counts, counter.counts);
        assert_eq!(copy.restore(&[0xff]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
