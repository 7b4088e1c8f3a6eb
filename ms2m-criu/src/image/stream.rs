//! Where the two directions of a TCP connection stood.

use prost::Message;

use super::Result;
use super::frame::{Entries, Magic};

#[derive(Clone, Copy, PartialEq, Message)]
struct TcpStreamEntry {
    #[prost(uint32, tag = "2")]
    inq_seq: u32,
    #[prost(uint32, tag = "3")]
    outq_len: u32,
    #[prost(uint32, tag = "4")]
    outq_seq: u32,
}

/// Sequence numbers of one end, as TCP counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    /// The next byte that it expects.
    pub(crate) expected: u32,
    /// Bytes that it has in its queue because they are not acknowledged or not sent yet.
    pub(crate) queued: u32,
    /// The next byte that it will write.
    pub(crate) next: u32,
}

impl Stream {
    /// From the image of this name; only its beginning is needed.
    pub(crate) fn decode(name: &str, image: &[u8]) -> Result<Self> {
        let entry: TcpStreamEntry = Entries::new(name, Magic::TcpStream, image)?.only()?;
        Ok(Self { expected: entry.inq_seq, queued: entry.outq_len, next: entry.outq_seq })
    }

    /// Whether everything that `reader` lacks is still in the queue here.
    pub(crate) fn feeds(self, reader: Self) -> bool {
        self.next.wrapping_sub(reader.expected) <= self.queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_lacks_must_be_in_the_queue() {
        let writer = |queued, next| Stream { expected: 0, queued, next };
        let reader = |expected| Stream { expected, queued: 0, next: 0 };
        assert!(writer(0, 100).feeds(reader(100)));
        assert!(writer(10, 100).feeds(reader(90)) && writer(10, 100).feeds(reader(95)));
        // Acknowledged by a reader whose image does not have it.
        assert!(!writer(10, 100).feeds(reader(89)));
        // Received, but never written.
        assert!(!writer(10, 100).feeds(reader(101)));
        // Numbers begin again at 0.
        assert!(writer(10, 5).feeds(reader(u32::MAX)) && !writer(3, 5).feeds(reader(u32::MAX)));
    }
}
