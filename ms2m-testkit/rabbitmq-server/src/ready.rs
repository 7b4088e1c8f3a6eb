//! When it answers.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

/// An AMQP server greets with `connection.start`, a method frame (type 1) on channel 0.
pub(crate) fn amqp(address: SocketAddrV4) -> bool {
    let mut start = [0; 3];
    ask(address, b"AMQP\x00\x00\x09\x01", &mut start) && start == [1, 0, 0]
}

/// Any answer will do: asking for more would need credentials.
pub(crate) fn http(address: SocketAddrV4) -> bool {
    let mut status = [0; 8];
    ask(address, b"GET /api/overview HTTP/1.0\r\n\r\n", &mut status) && status.starts_with(b"HTTP/1.")
}

fn ask(address: SocketAddrV4, question: &[u8], answer: &mut [u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address.into(), Duration::from_secs(1)) else { return false };
    let bounded = stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok();
    bounded && stream.write_all(question).is_ok() && stream.read_exact(answer).is_ok()
}
