//! RabbitMQ's management API, as far as it is needed here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// `guest:guest`
const CREDENTIALS: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// The queues' names.
pub(crate) fn queues(url: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /api/queues?columns=name HTTP/1.0\r\nAuthorization: Basic {CREDENTIALS}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let queues: Vec<Value> = serde_json::from_str(body).unwrap();
    queues.iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect()
}
