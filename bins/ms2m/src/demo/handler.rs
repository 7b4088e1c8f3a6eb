//! The demo's consumer: what it keeps depends on every message and on their order.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ms2m_broker::message::{PUBLISHER_HEADER, SEQUENCE_HEADER, Value};
use ms2m_consumer::{Context, Determinism, Effects, Handler, Message};
use ms2m_core::{Digest, Error, ErrorKind, Result};
use ms2m_testkit::EffectRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

/// The state, and how long a message takes.
#[derive(Clone, Debug)]
pub(crate) struct Bookkeeper {
    service: Duration,
    books: Books,
}

/// What travels.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Books {
    n: u64,
    chain: Digest,
    by_publisher: BTreeMap<String, u64>,
}

impl Bookkeeper {
    /// With empty books.
    pub(crate) fn new(service: Duration) -> Self {
        Self { service, books: Books::default() }
    }

    /// Takes a message into the books.
    pub(crate) fn enter(&mut self, message: &Message) -> EffectRecord {
        let header = |name| message.properties.header(name);
        let publisher = header(PUBLISHER_HEADER).and_then(Value::as_text).unwrap_or("unknown").to_owned();
        let seq = header(SEQUENCE_HEADER).and_then(Value::as_u64).unwrap_or_default();
        let body_digest = Digest::of(&message.body);
        let books = &mut self.books;
        books.n += 1;
        *books.by_publisher.entry(publisher.clone()).or_default() += 1;
        // The auditor computes the same with code of its own.
        let mut hash = Sha256::new();
        hash.update(books.chain.as_bytes());
        hash.update(books.n.to_be_bytes());
        hash.update((publisher.len() as u64).to_be_bytes());
        hash.update(publisher.as_bytes());
        hash.update(seq.to_be_bytes());
        hash.update(body_digest.as_bytes());
        books.chain = Digest::from_bytes(hash.finalize().into());
        EffectRecord { consumer_n: books.n, index: 0, publisher, seq, body_digest, state_digest: books.chain }
    }

    /// How many messages it has taken in.
    pub(crate) fn applied(&self) -> u64 {
        self.books.n
    }

    /// As bytes.
    pub(crate) fn save(&self) -> Result<Bytes> {
        let encoded = serde_json::to_vec(&self.books);
        encoded.map(Bytes::from).map_err(|error| Error::fatal(ErrorKind::Other, "the books cannot be written").caused_by(error))
    }

    /// From bytes.
    pub(crate) fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let decoded = serde_json::from_slice(bytes);
        self.books = decoded.map_err(|error| Error::undo(ErrorKind::Corrupt, "these are no books").caused_by(error))?;
        Ok(())
    }
}

impl Handler for Bookkeeper {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, cx: &mut Context<'_>) -> Effects {
        // Work that waits for something outside; a copy that replays skips it.
        if !self.service.is_zero() {
            cx.live(sleep(self.service)).await;
        }
        let effect = self.enter(message);
        // Nothing in it can fail to be encoded; without an effect the auditor would miss the message, and say so.
        serde_json::to_vec(&effect).map(Effects::one).unwrap_or_default()
    }

    fn snapshot(&self) -> Result<Bytes> {
        self.save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.load(bytes)
    }
}

#[cfg(test)]
mod tests {
    use ms2m_broker::Properties;
    use ms2m_testkit::auditor::fold;

    use super::*;

    #[test]
    fn keeps_the_books_that_the_auditor_expects() {
        let mut keeper = Bookkeeper::new(Duration::ZERO);
        let mut state = Digest::default();
        for seq in 1..=3 {
            let headers = vec![(PUBLISHER_HEADER.to_owned(), Value::Text("p".into())), (SEQUENCE_HEADER.to_owned(), Value::Int(seq))];
            let message = Message { properties: Properties { headers, ..Properties::default() }, body: seq.to_string().into() };
            let effect = keeper.enter(&message);
            let seq = seq.cast_unsigned();
            state = fold(state, seq, "p", seq, Digest::of(&message.body));
            assert_eq!((effect.consumer_n, effect.state_digest), (seq, state));
        }
        let mut copy = Bookkeeper::new(Duration::ZERO);
        copy.load(&keeper.save().unwrap()).unwrap();
        assert_eq!(copy.books, keeper.books);
        assert!(copy.load(b"{").is_err());
    }
}
