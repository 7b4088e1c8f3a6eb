//! When it answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// An AMQP server greets with `connection.start`, a method frame (type 1) on channel 0.
pub(crate) fn amqp(port: u16) -> bool {
    let mut start = [0; 3];
    ask(port, b"AMQP\x00\x00\x09\x01", &mut start) && start == [1, 0, 0]
}

/// Any answer will do: asking for more would need credentials.
pub(crate) fn http(port: u16) -> bool {
    let mut status = [0; 8];
    ask(port, b"GET /api/overview HTTP/1.0\r\n\r\n", &mut status) && status.starts_with(b"HTTP/1.")
}

fn ask(port: u16, question: &[u8], answer: &mut [u8]) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let bounded = stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok();
    bounded && stream.write_all(question).is_ok() && stream.read_exact(answer).is_ok()
}
