//! The form in which checkpoints pass from one trait to the next.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

use crate::error::Result;

/// Pieces of a checkpoint in order. Pieces of 0.5 to 1 MiB keep the cost of the virtual call invisible.
/// After the first `Err` nothing more comes.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;
