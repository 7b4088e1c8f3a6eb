//! The application: it sums up what it is sent.

use bytes::Bytes;
use ms2m_consumer::{Context, Determinism, Effects, Handler, Message};
use ms2m_core::{Error, ErrorKind, Result};

/// Counts bytes.
#[derive(Debug, Default)]
pub(crate) struct Sum(u64);

impl Handler for Sum {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, _: &mut Context<'_>) -> Effects {
        self.0 += message.body.len() as u64;
        Effects::none()
    }

    fn snapshot(&self) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(&self.0.to_be_bytes()))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.try_into().map_err(|_| Error::undo(ErrorKind::Corrupt, "a sum has 8 bytes"))?;
        self.0 = u64::from_be_bytes(bytes);
        Ok(())
    }
}
