//! Requests to one repository of a registry.

use std::fmt;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::distribution::Reference;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::auth::{Action, Authority};
use crate::fault::Fault;
use crate::options::RegistryOptions;
use crate::pauses::Pauses;
use crate::tls;

type Answer = Result<Response, Fault>;

/// For requests whose body is small, unless they say otherwise. What streams has the deadline of its caller.
const PATIENCE: Duration = Duration::from_secs(30);

/// A repository, as one party sees it.
pub(crate) struct Client {
    http: reqwest::Client,
    authority: Authority,
    /// `https://HOST/v2/NAME/`
    base: Url,
    /// `HOST/NAME`, for people.
    name: String,
    repository: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        let host = reference.resolve_registry();
        let scheme = if options.plain_http { "http" } else { "https" };
        let wrong = |error: url::ParseError| {
            Error::fatal(ErrorKind::Invalid, format!("{host:?} is no host with or without a port")).caused_by(error)
        };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", reference.repository())).map_err(wrong)?;
        Ok(Self {
            http: tls::client(options)?,
            authority: Authority::new(options.credentials.clone(), host),
            base,
            name: format!("{}/{}", reference.registry(), reference.repository()),
            repository: reference.repository().to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A URL below the repository's.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Fault> {
        self.base.join(path).map_err(|error| Fault::Absurd(error.to_string()))
    }

    /// One request, with another one when it wants (other) credentials. Whatever else it answers is the caller's to judge.
    pub(crate) async fn once(&self, action: Action, method: Method, url: &Url, with: impl Fn(RequestBuilder) -> RequestBuilder) -> Answer {
        let first = self.streamed(action, method.clone(), url, |request| with(request.timeout(PATIENCE))).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        self.identify(action, &first).await?;
        self.streamed(action, method, url, |request| with(request.timeout(PATIENCE))).await
    }

    /// A request that may be repeated, until it is answered by one of these or by something final.
    pub(crate) async fn patient(
        &self,
        action: Action,
        method: Method,
        url: &Url,
        (wanted, pauses): (&[StatusCode], &mut Pauses),
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        loop {
            let fault = match self.once(action, method.clone(), url, &with).await {
                Ok(response) if wanted.contains(&response.status()) => return Ok(response),
                Ok(response) => Fault::of(response).await,
                Err(fault) => fault,
            };
            pauses.after(fault).await?;
        }
    }

    /// One request whose body passes only once, without a deadline of its own.
    pub(crate) async fn streamed(
        &self,
        action: Action,
        method: Method,
        url: &Url,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.http.request(method, url.clone());
        // Credentials are shown to the registry itself and to nobody whom it names.
        let request = if url.origin() == self.base.origin() { self.authority.authorize(action, request) } else { request };
        Ok(with(request).send().await?)
    }

    /// Finds what a 401 asks for.
    pub(crate) async fn identify(&self, action: Action, refusal: &Response) -> Result<(), Fault> {
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
            Action::Delete => "delete",
        };
        let scope = format!("repository:{}:{actions}", self.repository);
        self.authority.answer(&self.http, action, &scope, refusal.headers()).await
    }
}

/// A body of limited size.
pub(crate) async fn limited(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if all.len() + piece.len() > bytes_max {
            return Err(Fault::Absurd(format!("an answer of more than {bytes_max} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}
