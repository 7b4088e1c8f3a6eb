//! One call of gRPC without streams, over a socket of this machine.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ms2m_core::{Error, ErrorKind, Result};
use prost::Message;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Of an answer; a node's containers are some hundred bytes each.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A flag that says that it is not compressed, and the length.
const HEAD_BYTES: usize = 5;

/// Statuses of gRPC that are told apart.
const OK: &str = "0";
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";

/// Asks the server behind a socket for this method.
pub(super) async fn call<Q: Message, A: Message + Default>(socket: &Path, method: &str, question: &Q, within: Duration) -> Result<A> {
    let late = |_| {
        let message = "the container runtime does not answer in time; see its log";
        Error::retry(ErrorKind::Timeout, message).with("method", method).with("within_s", within.as_secs())
    };
    let asked = timeout(within, ask(socket, method, question)).await.map_err(late)?;
    asked.map_err(|error| error.with("method", method).with("socket", socket.display()))
}

async fn ask<Q: Message, A: Message + Default>(socket: &Path, method: &str, question: &Q) -> Result<A> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let message = "the container runtime cannot be asked; does it run, and is its socket the right one (--cri-socket)?";
        Error::retry(ErrorKind::Unavailable, message).caused_by(error)
    })?;
    let broken = |error: hyper::Error| Error::retry(ErrorKind::Unavailable, "the container runtime does not answer").caused_by(error);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request(method, question)?).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| Error::retry(ErrorKind::Unavailable, "the container runtime's answer breaks off").caused_by(error))?;
        // An answer that is an error at once has its status in the head.
        let trailers = body.trailers().cloned().unwrap_or_default();
        status(if trailers.contains_key("grpc-status") { &trailers } else { &head.headers })?;
        message(&body.to_bytes())
    };
    let answer = answer.await;
    connection.abort();
    answer
}

fn request(method: &str, question: &impl Message) -> Result<Request<Full<Bytes>>> {
    let mut body = Vec::with_capacity(HEAD_BYTES + question.encoded_len());
    body.push(0);
    body.extend_from_slice(&u32::try_from(question.encoded_len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&question.encode_to_vec());
    let request = Request::builder().method(Method::POST).uri(format!("http://localhost/{method}"));
    let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
    let odd = |error| Error::fatal(ErrorKind::Invariant, "the question makes no request").caused_by(error);
    request.body(Full::new(Bytes::from(body))).map_err(odd)
}

fn status(headers: &HeaderMap) -> Result<()> {
    let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let says = || {
        let said = url_decoded(word("grpc-message"));
        if said.is_empty() {
            "the container runtime refuses, and does not say why".to_owned()
        } else {
            format!("the container runtime says: {said}")
        }
    };
    match word("grpc-status") {
        OK => Ok(()),
        NOT_FOUND => Err(Error::undo(ErrorKind::NotFound, says())),
        UNIMPLEMENTED => Err(Error::fatal(ErrorKind::Unsupported, says())),
        "" => Err(Error::retry(ErrorKind::Unavailable, "the container runtime's answer has no status; is this its socket?")),
        _ => Err(Error::undo(ErrorKind::Other, says())),
    }
}

/// gRPC writes what is not printable as `%XX`.
fn url_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = if first == b'%' { after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()) } else { None };
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(if byte.is_ascii_control() { b' ' } else { byte });
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn message<A: Message + Default>(body: &[u8]) -> Result<A> {
    let odd = || Error::retry(ErrorKind::Corrupt, "the container runtime's answer is not understood");
    let (head, rest) = body.split_at_checked(HEAD_BYTES).ok_or_else(odd)?;
    let bytes = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let rest = rest.get(..bytes as usize).filter(|_| head[0] == 0).ok_or_else(odd)?;
    A::decode(rest).map_err(|error| odd().caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::super::messages::{Image, ImageStatusResponse};
    use super::*;

    #[test]
    fn what_was_said_can_be_read() {
        assert_eq!(url_decoded("no%0asuch%20image %zz 100%"), "no such image %zz 100%");
    }

    #[test]
    fn an_answer_is_one_whole_message() {
        let answer = ImageStatusResponse { image: Some(Image { id: "x".into() }) };
        let mut body = vec![0, 0, 0, 0, u8::try_from(answer.encoded_len()).unwrap()];
        body.extend_from_slice(&answer.encode_to_vec());
        assert_eq!(message::<ImageStatusResponse>(&body).unwrap(), answer);
        for damaged in [&body[..3], &body[..body.len() - 1], &[1, 0, 0, 0, 0]] {
            assert_eq!(message::<ImageStatusResponse>(damaged).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn statuses_are_told_apart() {
        let with = |status: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", status.parse().unwrap());
            headers.insert("grpc-message", "no".parse().unwrap());
            super::status(&headers)
        };
        with("0").unwrap();
        assert_eq!(with("5").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(with("12").unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(with("2").unwrap_err().to_string().contains("says: no"));
        assert_eq!(super::status(&HeaderMap::new()).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn who_is_not_there_is_said() {
        let home = tempfile::tempdir().unwrap();
        let asked = call::<_, Image>(&home.path().join("no.sock"), "x", &Image::default(), Duration::from_secs(5)).await;
        assert!(asked.unwrap_err().to_string().contains("--cri-socket"));
    }
}
