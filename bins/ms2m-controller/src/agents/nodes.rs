//! [`Nodes`]: where the agents are, and connections to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use ms2m_core::{Error, ErrorKind, Result};
use ms2m_transfer_direct::{Caller, Credentials};

/// How long a node's address is taken for granted. An agent shows a certificate of its node, so nobody else is taken for it.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The agents of the cluster's nodes.
#[derive(Clone)]
pub(crate) struct Nodes {
    api: Api<Node>,
    port: u16,
    credentials: Credentials,
    /// By node; each keeps some connections.
    callers: Arc<Mutex<HashMap<String, (String, Caller)>>>,
    /// By node. Asked for again after a while: no migration waits for that in its hot part.
    urls: Arc<Mutex<HashMap<String, (Instant, String)>>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Nodes {
    /// Their agents listen on this port, and show the certificates of their nodes.
    pub(crate) fn new(client: Client, port: u16, credentials: Credentials) -> Self {
        Self { api: Api::all(client), port, credentials, callers: Arc::default(), urls: Arc::default() }
    }

    pub(crate) fn client(&self) -> Client {
        self.api.clone().into_client()
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where the agent of a node is.
    pub(crate) async fn url(&self, node: &str) -> Result<String> {
        let urls = || self.urls.lock().unwrap_or_else(PoisonError::into_inner);
        urls().retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        if let Some((_, url)) = urls().get(node) {
            return Ok(url.clone());
        }
        let url = self.look_up(node).await?;
        urls().insert(node.to_owned(), (Instant::now(), url.clone()));
        Ok(url)
    }

    async fn look_up(&self, node: &str) -> Result<String> {
        let cannot = |error: kube::Error| {
            let missing = matches!(&error, kube::Error::Api(status) if status.code == 404);
            let (kind, message) = if missing {
                (ErrorKind::NotFound, "there is no such node")
            } else {
                (ErrorKind::Unavailable, "the node cannot be looked at")
            };
            Error::retry(kind, message).with("node", node).caused_by(error)
        };
        let found = self.api.get(node).await.map_err(cannot)?;
        let addresses = found.status.and_then(|status| status.addresses).unwrap_or_default();
        let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP").ok_or_else(|| {
            let message = "the node has no internal address at which its agent could be";
            Error::fatal(ErrorKind::Unsupported, message).with("node", node)
        })?;
        let host = if internal.address.contains(':') { format!("[{}]", internal.address) } else { internal.address };
        Ok(format!("https://{host}:{}", self.port))
    }

    /// Asks the agent of a node.
    pub(crate) async fn caller(&self, node: &str) -> Result<Caller> {
        let url = self.url(node).await?;
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, caller)) = callers.get(node)
            && *known == url
        {
            return Ok(caller.clone());
        }
        let caller = Caller::new(&url, node, self.credentials.clone())?;
        callers.insert(node.to_owned(), (url, caller.clone()));
        Ok(caller)
    }
}
