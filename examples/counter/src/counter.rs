//! The application: state, and how a message changes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ms2m_consumer::{Context, Determinism, Effects, Handler, Message};
use ms2m_core::{Error, ErrorKind, Result};

/// How often each key was seen.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counter(BTreeMap<String, u64>);

impl Handler for Counter {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, _: &mut Context<'_>) -> Effects {
        let properties = &message.properties;
        let key = properties.kind.as_ref().unwrap_or(&properties.routing_key);
        let count = self.0.entry(key.clone()).or_default();
        *count += 1;
        Effects::one(format!("{key}={count}"))
    }

    fn snapshot(&self) -> Result<Bytes> {
        let bytes = postcard::to_stdvec(&self.0);
        bytes.map(Bytes::from).map_err(|error| Error::fatal(ErrorKind::Other, "the counts cannot be encoded").caused_by(error))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let counts = postcard::from_bytes(bytes);
        self.0 = counts.map_err(|error| Error::undo(ErrorKind::Corrupt, "these are no counts").caused_by(error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_a_snapshot() {
        let counter = Counter(BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 1)]));
        let mut copy = Counter::default();
        copy.restore(&counter.snapshot().unwrap()).unwrap();
        assert_eq!(copy, counter);
        assert_eq!(copy.restore(&[0xff]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
