//! The management API: it can cut connections off, and knows policies.

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::config::RabbitMqConfig;
use super::facts::QueueReport;
use super::tls;
use crate::link::{LinkError, LinkResult, OPERATION_DEADLINE, QueueFacts};

/// A client of the management API.
pub(super) struct Management {
    client: Client,
    base: Url,
    user: String,
    password: String,
    vhost: String,
}

#[derive(Deserialize)]
struct ListedConnection {
    name: String,
    user_provided_name: Option<String>,
}

impl Management {
    pub(super) fn new(url: &Url, config: &RabbitMqConfig) -> LinkResult<Self> {
        let builder = Client::builder().timeout(OPERATION_DEADLINE).no_proxy();
        let builder = if url.scheme() == "https" { builder } else { builder.tls_backend_preconfigured(tls::unused()?) };
        let client = builder.build().map_err(|error| failed(&error))?;
        let mut base = url.clone();
        // In headers, where no error text repeats them.
        let cleaned = base.set_username("").and_then(|()| base.set_password(None));
        cleaned.map_err(|()| LinkError::Refused("the URL of the management API has no host".into()))?;
        let amqp = &config.uri.authority.userinfo;
        let (user, password) = match (url.username(), url.password()) {
            ("", _) => (amqp.username.clone(), amqp.password.clone()),
            (user, password) => (decoded(user), decoded(password.unwrap_or_default())),
        };
        Ok(Self { client, base, user, password, vhost: config.uri.vhost.clone() })
    }

    /// Closes the connections listed under a name now. Answered when each has ended its channels.
    pub(super) async fn cut(&self, name: &str) -> LinkResult<()> {
        let mut url = self.url(&["connections"])?;
        url.set_query(Some("columns=name,user_provided_name"));
        let listed: Vec<ListedConnection> = self.answer(self.request(Method::GET, url), "").await?;
        for connection in listed.iter().filter(|connection| connection.user_provided_name.as_deref() == Some(name)) {
            let request = self.request(Method::DELETE, self.url(&["connections", &connection.name])?).header("X-Reason", "fenced by ms2m");
            let response = request.send().await.map_err(|error| failed(&error))?;
            // Not found: gone by itself.
            if response.status() != StatusCode::NOT_FOUND {
                check(response.status(), "")?;
            }
        }
        Ok(())
    }

    pub(super) async fn queue(&self, queue: &str) -> LinkResult<QueueFacts> {
        let report: QueueReport = self.answer(self.request(Method::GET, self.url(&["queues", &self.vhost, queue])?), queue).await?;
        report.facts()
    }

    fn url(&self, path: &[&str]) -> LinkResult<Url> {
        let mut url = self.base.clone();
        let mut segments = url.path_segments_mut().map_err(|()| LinkError::Refused("the URL of the management API has no path".into()))?;
        segments.pop_if_empty().push("api").extend(path);
        drop(segments);
        Ok(url)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).basic_auth(&self.user, Some(&self.password))
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder, queue: &str) -> LinkResult<T> {
        let response = request.send().await.map_err(|error| failed(&error))?;
        check(response.status(), queue)?;
        response.json().await.map_err(|error| if error.is_decode() { LinkError::Corrupt(error.to_string()) } else { failed(&error) })
    }
}

fn check(status: StatusCode, queue: &str) -> LinkResult<()> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(LinkError::Unauthorized(
            "the management API wants a user with the tag management, or monitoring to see all connections".into(),
        )),
        StatusCode::NOT_FOUND => Err(LinkError::NotFound(queue.into())),
        status => Err(LinkError::Unavailable(format!("the management API answers {status}"))),
    }
}

fn failed(error: &reqwest::Error) -> LinkError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    LinkError::Unavailable(format!("the management API: {error}{cause}"))
}

fn decoded(text: &str) -> String {
    // A form's `+` is not decoded in a URL's user part.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}
