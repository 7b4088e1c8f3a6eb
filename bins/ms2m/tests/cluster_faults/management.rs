//! RabbitMQ's management API, as far as it is needed here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// `guest:guest`
const CREDENTIALS: &str = "Z3Vlc3Q6Z3Vlc3Q=";

fn call(url: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{method} /api{path} HTTP/1.0\r\nAuthorization: Basic {CREDENTIALS}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

fn list(url: &str, path: &str) -> Vec<Value> {
    serde_json::from_str(&call(url, "GET", path)).unwrap()
}

/// The queues' names.
pub(crate) fn queues(url: &str) -> Vec<String> {
    list(url, "/queues?columns=name").iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect()
}
