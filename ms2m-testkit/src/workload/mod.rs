//! Publishers for tests and the demo: at a rate or as fast as confirms allow, over lost connections, each message numbered.

mod body;
mod publisher;
#[cfg(test)]
mod tests;

use ms2m_core::Digest;

pub use body::body;
pub use publisher::{Published, Publisher, run};

/// Hears what a publisher does, in the order in which it does it.
pub trait SendLog: Send + Sync {
    /// A message is about to be published for the first time.
    fn sent(&self, publisher: &str, seq: u64, body: Digest);
    /// The broker has confirmed it.
    fn confirmed(&self, publisher: &str, seq: u64);
    /// Its confirm was lost with the connection; it is about to be published once more.
    fn uncertain(&self, publisher: &str, seq: u64);
}

/// Hears nothing.
impl SendLog for () {
    fn sent(&self, _: &str, _: u64, _: Digest) {}
    fn confirmed(&self, _: &str, _: u64) {}
    fn uncertain(&self, _: &str, _: u64) {}
}
