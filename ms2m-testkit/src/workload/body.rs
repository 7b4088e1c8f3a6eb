//! Message bodies that anybody can compute again.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The body of message `seq` of a publisher with that seed: `length` bytes, different for every message from 16 bytes on.
#[must_use]
pub fn body(seed: u64, seq: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed.rotate_left(32) ^ seq).fill_bytes(&mut bytes);
    // Readable in a queue browser, and unique whatever the generator does.
    let label = format!("{seq:016x}");
    let readable = length.min(label.len());
    bytes[..readable].copy_from_slice(&label.as_bytes()[label.len() - readable..]);
    bytes.into()
}
