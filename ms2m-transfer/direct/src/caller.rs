//! [`Caller`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header};
use ms2m_core::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::connect::{Sender, Target};
use crate::credentials::Credentials;

/// Connections that are kept for the next question.
const IDLE_MAX: usize = 4;

/// Asks an agent what is served beside its checkpoints ([`Agent::serve_routes`](crate::Agent::serve_routes)): JSON there and back, over
/// connections that are kept for a while. Questions must be such that they can be asked twice.
#[derive(Clone, Debug)]
pub struct Caller {
    target: Arc<Target>,
    idle: Arc<Mutex<Vec<Sender>>>,
}

impl Caller {
    /// Asks the agent at this address (`https://HOST:PORT`), which must show the certificate of this node, whatever its address is.
    ///
    /// # Errors
    /// `Invalid` when the address or the name is none. Whether the agent is there is seen with the first question.
    pub fn new(url: &str, node: &str, credentials: Credentials) -> Result<Self> {
        Ok(Self { target: Arc::new(Target::new(url, credentials)?.expecting(node)?), idle: Arc::default() })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the agent refuses with; when it cannot be reached, does not answer in time, or not what was expected.
    pub async fn call<Q: Serialize + ?Sized, A: DeserializeOwned>(&self, path: &str, question: &Q, within: Duration) -> Result<A> {
        let invalid = |error| Error::fatal(ErrorKind::Invalid, "the question has no JSON").caused_by(error);
        let question = Bytes::from(serde_json::to_vec(question).map_err(invalid)?);
        let late = |_| Error::retry(ErrorKind::Timeout, "the agent has not answered in time").with("within_ms", within.as_millis());
        let asked = timeout(within, self.ask(path, question)).await.map_err(late).flatten();
        let answer = asked.map_err(|error| error.with("agent", self.target.url()).with("path", path))?;
        serde_json::from_slice(&answer).map_err(|error| {
            let message = "the agent's answer is not understood; use programs of the same release on all nodes";
            Error::undo(ErrorKind::Unsupported, message).with("agent", self.target.url()).with("path", path).caused_by(error)
        })
    }

    async fn ask(&self, path: &str, question: Bytes) -> Result<Bytes> {
        let request = || -> Result<Request<Full<Bytes>>> {
            let request = self.target.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
            let invalid = |error| Error::fatal(ErrorKind::Invalid, "the request cannot be made").caused_by(error);
            request.body(Full::new(question.clone())).map_err(invalid)
        };
        // The agent may have closed them since, which is no error of this question.
        while let Some(mut sender) = self.taken() {
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request()?).await
            {
                return self.heard(sender, response).await;
            }
        }
        let (mut sender, connection) = self.target.connect().await?;
        match sender.send_request(request()?).await {
            Ok(response) => self.heard(sender, response).await,
            Err(told) => Err(match connection.await {
                Ok(Err(why)) => self.target.broken(why),
                _ => self.target.broken(told),
            }),
        }
    }

    async fn heard(&self, sender: Sender, response: hyper::Response<hyper::body::Incoming>) -> Result<Bytes> {
        let response = self.target.judged(response).await.map_err(|refusal| refusal.error)?;
        let answer = self.target.whole(response).await?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
        Ok(answer)
    }

    fn taken(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
