//! Who asks: credentials, the registry's challenge, and the tokens that come of it.

mod challenge;
mod credentials;
mod token;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use docker_credential::DockerCredential;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use tokio::sync::OnceCell;

pub use credentials::Credentials;

use crate::fault::Fault;
use challenge::Challenge;

/// What a request does, as registries tell it apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

/// What goes with a request.
#[derive(Clone)]
enum Proof {
    Basic { user: String, password: String },
    Bearer(String),
}

/// Remembers what was accepted. A token that has expired is found out by the registry's refusal.
pub(crate) struct Authority {
    credentials: Credentials,
    registry: String,
    found: OnceCell<Option<DockerCredential>>,
    accepted: Mutex<HashMap<Action, Proof>>,
}

impl Authority {
    pub(crate) fn new(credentials: Credentials, registry: &str) -> Self {
        Self { credentials, registry: registry.to_owned(), found: OnceCell::new(), accepted: Mutex::default() }
    }

    /// Adds what this registry has accepted before.
    pub(crate) fn authorize(&self, action: Action, request: RequestBuilder) -> RequestBuilder {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        match accepted.get(&action) {
            Some(Proof::Basic { user, password }) => request.basic_auth(user, Some(password)),
            Some(Proof::Bearer(token)) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Finds an answer to a 401.
    ///
    /// # Errors
    /// [`Fault::Login`] when there is none.
    pub(crate) async fn answer(&self, client: &Client, action: Action, scope: &str, headers: &HeaderMap) -> Result<(), Fault> {
        let credential = self.found.get_or_try_init(|| self.credentials.find(&self.registry)).await?.as_ref();
        let proof = match challenge::strongest(headers)? {
            Challenge::Basic => match credential {
                Some(DockerCredential::UsernamePassword(user, password)) => Proof::Basic { user: user.clone(), password: password.clone() },
                Some(DockerCredential::IdentityToken(_)) => {
                    return Err(Fault::Login("it asks for user and password, and an identity token is there".into()));
                }
                None => return Err(Fault::Login(format!("there are no credentials for {}", self.registry))),
            },
            Challenge::Bearer { realm, service, scope: asked } => {
                let scope = asked.as_deref().unwrap_or(scope);
                Proof::Bearer(token::fetch(client, realm, service.as_deref(), scope, credential).await?)
            }
        };
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(action, proof);
        Ok(())
    }
}
