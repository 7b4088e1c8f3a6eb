//! [`Collector`]: takes OpenTelemetry spans by OTLP over HTTP, and tells them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
pub use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// One request has hardly more.
const BYTES_MAX: usize = 16 << 20;

/// A collector that answers as long as this process lives.
#[derive(Debug)]
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    /// Listens at an address such as `127.0.0.1:0`.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn start(address: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let collector = Self { url: format!("http://{}", listener.local_addr()?), spans: Arc::default() };
        let spans = Arc::clone(&collector.spans);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who is cut off sends it again.
                let _ = take(stream, &spans);
            }
        });
        Ok(collector)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has arrived, each span with the name of its service.
    #[must_use]
    pub fn spans(&self) -> Vec<(String, Span)> {
        locked(&self.spans).clone()
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request, answered when its spans are kept.
fn take(stream: TcpStream, spans: &Mutex<Vec<(String, Span)>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut is_traces, mut bytes, mut line) = (false, 0, String::new());
    while stream.read_line(&mut line).ok()? > 2 {
        let lower = line.to_lowercase();
        is_traces |= lower.starts_with("post /v1/traces ");
        if let Some(length) = lower.strip_prefix("content-length:") {
            bytes = length.trim().parse().ok().filter(|bytes| *bytes <= BYTES_MAX)?;
        }
        line.clear();
    }
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body).ok()?;
    let request = is_traces.then(|| ExportTraceServiceRequest::decode(&*body).ok()).flatten();
    let status = if request.is_some() { "200 OK" } else { "400 Bad Request" };
    for of_service in request.into_iter().flat_map(|request| request.resource_spans) {
        let mut attributes = of_service.resource.into_iter().flat_map(|resource| resource.attributes);
        let service = attributes.find(|attribute| attribute.key == "service.name").and_then(|attribute| attribute.value?.value);
        let Some(Value::StringValue(service)) = service else { continue };
        let new = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
        locked(spans).extend(new.map(|span| (service.clone(), span)));
    }
    write!(stream.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()
}
