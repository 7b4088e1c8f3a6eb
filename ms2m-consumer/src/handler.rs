//! [`Handler`]: what an application writes.

use bytes::Bytes;
use ms2m_broker::Message;
use ms2m_broker::protocol::Determinism;
use ms2m_core::{Error, ErrorKind, Result};

use crate::context::Context;
use crate::effect::Effects;

/// State, and how messages change it.
///
/// One handler is called for one message at a time, in the order of the queue. A panic is not caught: it ends the consumer's
/// task, the message is not acknowledged, and the broker delivers it again to whoever consumes next.
pub trait Handler: Send + 'static {
    /// How far a second `apply` of the same messages comes to the same state.
    fn determinism(&self) -> Determinism {
        Determinism::Unknown
    }

    /// Applies one message and says which effects follow. Values from outside come through `cx`; what should happen outside
    /// goes into the effects, or through [`Context::live`].
    fn apply(&mut self, message: &Message, cx: &mut Context<'_>) -> impl Future<Output = Effects> + Send;

    /// The state as bytes, for checkpoints that the consumer writes itself. Called between two messages.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] by default: such consumers are checkpointed from outside.
    fn snapshot(&self) -> Result<Bytes> {
        Err(Error::fatal(ErrorKind::Unsupported, "this handler writes no snapshots; implement Handler::snapshot and restore"))
    }

    /// Takes the state that [`snapshot`](Self::snapshot) has given, before the first message.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] by default; [`ErrorKind::Corrupt`] for bytes that are no state.
    fn restore(&mut self, _bytes: &[u8]) -> Result<()> {
        Err(Error::fatal(ErrorKind::Unsupported, "this handler reads no snapshots; implement Handler::snapshot and restore"))
    }
}
