//! Tokens.

use std::time::Duration;

use docker_credential::DockerCredential;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::client::limited;
use crate::fault::Fault;

const PATIENCE: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const CLIENT: &str = "ms2m";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// A token for `scope`, from the server that the registry names.
pub(super) async fn fetch(
    client: &Client,
    mut realm: Url,
    service: Option<&str>,
    scope: &str,
    credential: Option<&DockerCredential>,
) -> Result<String, Fault> {
    let request = match credential {
        // As OAuth 2 has it; only these come in the body.
        Some(DockerCredential::IdentityToken(token)) => {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT);
            form.append_pair("scope", scope).append_pair("refresh_token", token);
            if let Some(service) = service {
                form.append_pair("service", service);
            }
            client.post(realm).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish())
        }
        other => {
            realm.query_pairs_mut().append_pair("client_id", CLIENT).append_pair("scope", scope);
            if let Some(service) = service {
                realm.query_pairs_mut().append_pair("service", service);
            }
            match other {
                Some(DockerCredential::UsernamePassword(user, password)) => client.get(realm).basic_auth(user, Some(password)),
                _ => client.get(realm),
            }
        }
    };
    let response = request.timeout(PATIENCE).send().await?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let who = if credential.is_some() { "these credentials" } else { "somebody without credentials" };
            return Err(Fault::Login(format!("its token server does not know {who}")));
        }
        _ => return Err(Fault::of(response).await),
    }
    let answer: Option<Answer> = serde_json::from_slice(&limited(response, ANSWER_BYTES_MAX).await?).ok();
    let token = answer.map(|answer| if answer.token.is_empty() { answer.access_token } else { answer.token });
    token.filter(|token| !token.is_empty()).ok_or_else(|| Fault::Absurd("its token server sends no token".into()))
}
