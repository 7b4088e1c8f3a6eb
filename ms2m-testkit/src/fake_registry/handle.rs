//! One request.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LINK, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use ms2m_core::Digest;

use super::access::Access;
use super::faults::{Lie, Request};
use super::{Inner, Shared};

const DIGEST: &str = "docker-content-digest";

pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let place = Place::of(&path);
    let kind = place.kind(&parts.method);
    let (refused, delay, silent) = {
        let mut inner = shared.lock();
        (inner.faults.refuses(kind), inner.faults.delay, inner.faults.silent)
    };
    tokio::time::sleep(delay).await;
    if silent.is_some_and(|silent| silent == kind || silent == Request::Any) {
        std::future::pending::<()>().await;
    }
    if let Some((status, retry_after)) = refused {
        linger(body).await;
        let mut response = error(status, "DENIED");
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        return Ok(response);
    }
    Ok(match place {
        Place::Token => token(&shared, &parts),
        Place::Unknown => error(404, "NOT_FOUND"),
        Place::In(repository, rest) => match challenge(&shared, &parts, repository) {
            Some(challenge) => challenge,
            None => answer(&shared, &parts, repository, rest, body).await,
        },
    })
}

enum Place<'a> {
    Token,
    In(&'a str, Vec<&'a str>),
    Unknown,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        if path == "/token" {
            return Self::Token;
        }
        let Some(path) = path.strip_prefix("/v2/") else { return Self::Unknown };
        let found = ["/blobs/", "/manifests/", "/tags/"].iter().find_map(|kind| Some((path.rfind(kind)?, *kind)));
        match found {
            Some((at, _)) => Self::In(&path[..at], path[at + 1..].split('/').collect()),
            None => Self::Unknown,
        }
    }

    fn kind(&self, method: &Method) -> Request {
        let Self::In(_, rest) = self else { return if matches!(self, Self::Token) { Request::Token } else { Request::Any } };
        let upload = rest.get(1) == Some(&"uploads");
        match (rest[0], method.as_str()) {
            ("blobs", "POST") => Request::Begin,
            ("blobs", "PATCH") => Request::Patch,
            ("blobs", "PUT") => Request::Finish,
            ("blobs", "GET") if upload => Request::Status,
            ("blobs", "DELETE") if upload => Request::Any,
            ("blobs" | "manifests", "DELETE") => Request::Delete,
            ("blobs", _) => Request::Blob,
            ("manifests", "PUT") => Request::Publish,
            ("manifests", _) => Request::Manifest,
            _ => Request::Any,
        }
    }
}

fn plain(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn error(status: u16, code: &str) -> Response {
    let mut response = plain(status);
    *response.body_mut() = Body::from(format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#));
    response
}

fn with(mut response: Response, headers: &[(&'static str, String)]) -> Response {
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    response
}

fn query(parts: &Parts, wanted: &str) -> Option<String> {
    let mut pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
}

fn header<'a>(parts: &'a Parts, name: &axum::http::HeaderName) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// `Basic` and its base64, for the one user.
fn basic(user: &str, password: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for three in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = three.iter().chain(&[0; 2]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for index in 0..4 {
            let six = (bits >> (18 - 6 * index)) as usize & 63;
            text.push(if index <= three.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

fn token(shared: &Shared, parts: &Parts) -> Response {
    let Access::Token { user, password } = &shared.access else { return error(404, "NOT_FOUND") };
    if header(parts, &AUTHORIZATION) != Some(&basic(user, password)) {
        return error(401, "UNAUTHORIZED");
    }
    let token = shared.lock().tokens.give(&query(parts, "scope").unwrap_or_default());
    let mut response = plain(200);
    *response.body_mut() = Body::from(format!(r#"{{"token":"{token}","expires_in":300}}"#));
    response
}

/// A 401, unless the request is allowed.
fn challenge(shared: &Shared, parts: &Parts, repository: &str) -> Option<Response> {
    let proof = header(parts, &AUTHORIZATION);
    let challenge = match &shared.access {
        Access::Everybody => return None,
        Access::Basic { user, password } if proof == Some(&basic(user, password)) => return None,
        Access::Basic { .. } => "Basic realm=\"fake\"".to_owned(),
        Access::Token { .. } => {
            let (action, actions) = match parts.method {
                Method::GET | Method::HEAD => ("pull", "pull"),
                Method::DELETE if !parts.uri.path().contains("/uploads/") => ("delete", "delete"),
                _ => ("push", "pull,push"),
            };
            let mut inner = shared.lock();
            let Inner { faults, tokens, .. } = &mut *inner;
            let token = proof.and_then(|proof| proof.strip_prefix("Bearer "));
            if token.is_some_and(|token| tokens.allows(token, repository, action, faults.token_requests)) {
                return None;
            }
            format!(r#"Bearer realm="http://{}/token",service="fake",scope="repository:{repository}:{actions}""#, shared.host)
        }
    };
    Some(with(error(401, "UNAUTHORIZED"), &[(WWW_AUTHENTICATE.as_str(), challenge)]))
}

async fn answer(shared: &Arc<Shared>, parts: &Parts, repository: &str, rest: Vec<&str>, body: Body) -> Response {
    match (parts.method.as_str(), rest.as_slice()) {
        ("POST", ["blobs", "uploads", ""]) => begin(shared, parts, repository),
        (_, ["blobs", "uploads", id]) => {
            let Ok(id) = id.parse() else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
            match parts.method.as_str() {
                "PATCH" => patch(shared, parts, repository, id, body).await,
                "PUT" => finish(shared, parts, repository, id, body).await,
                _ => upload(shared, &parts.method, repository, id),
            }
        }
        ("GET" | "HEAD", ["blobs", digest]) => blob(shared, parts, repository, digest),
        ("PUT", ["manifests", reference]) => publish(shared, repository, reference, body).await,
        ("GET" | "HEAD", ["manifests", reference]) => {
            let found = shared.lock().store.repository(repository).manifest(reference);
            let Some((digest, manifest)) = found else { return error(404, "MANIFEST_UNKNOWN") };
            let mut response = plain(200);
            *response.body_mut() = Body::from(manifest);
            let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
            with(response, &[(DIGEST, digest.to_string()), ("content-type", kind)])
        }
        ("DELETE", [kind, digest]) => {
            let mut inner = shared.lock();
            if inner.faults.no_delete {
                return error(405, "UNSUPPORTED");
            }
            let Ok(digest) = digest.parse::<Digest>() else { return error(400, "DIGEST_INVALID") };
            let repository = inner.store.repository(repository);
            let removed = if *kind == "blobs" { repository.blobs.remove(&digest).is_some() } else { repository.remove(digest) };
            if removed { plain(202) } else { error(404, "UNKNOWN") }
        }
        ("GET", ["tags", "list"]) => tags(shared, parts, repository),
        _ => error(405, "UNSUPPORTED"),
    }
}

fn place(repository: &str, id: u64) -> (&'static str, String) {
    (LOCATION.as_str(), format!("/v2/{repository}/blobs/uploads/{id}"))
}

fn range(bytes: usize) -> (&'static str, String) {
    (RANGE.as_str(), format!("0-{}", bytes.saturating_sub(1)))
}

fn begin(shared: &Shared, parts: &Parts, repository: &str) -> Response {
    let mut inner = shared.lock();
    if let (Some(digest), Some(from)) = (query(parts, "mount").and_then(|digest| digest.parse().ok()), query(parts, "from"))
        && !inner.faults.no_mount
        && let Some(blob) = inner.store.repository(&from).blobs.get(&digest).cloned()
    {
        inner.store.repository(repository).blobs.insert(digest, blob);
        return with(plain(201), &[(DIGEST, digest.to_string())]);
    }
    let id = inner.store.begin(repository);
    with(plain(202), &[place(repository, id), range(0)])
}

/// Status and removal of an upload.
fn upload(shared: &Shared, method: &Method, repository: &str, id: u64) -> Response {
    let mut inner = shared.lock();
    let lie = if inner.faults.lie == Some(Lie::Status) { 1000 } else { 0 };
    let Some(pending) = inner.store.uploads.get(&id).filter(|pending| pending.repository == repository) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let bytes = pending.bytes.len() + lie;
    if *method == Method::DELETE {
        inner.store.uploads.remove(&id);
        return plain(204);
    }
    with(plain(204), &[place(repository, id), range(bytes)])
}

/// Takes bytes as they come, so that those before a cut are there. The error is a status.
async fn take(shared: &Shared, parts: &Parts, id: u64, body: Body) -> Result<usize, u16> {
    let limit = shared.lock().faults.request_bytes_max;
    let announced = header(parts, &CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let mut broken = Broken { shared, id, whole: false };
    let mut bytes = 0;
    let mut body = body.into_data_stream();
    loop {
        if limit.is_some_and(|limit| announced.unwrap_or(0).max(bytes) > limit) {
            broken.whole = true;
            while let Some(Ok(_)) = body.next().await {}
            return Err(413);
        }
        let Some(piece) = body.next().await else { break };
        let piece = piece.map_err(|_| 499_u16)?;
        bytes += piece.len() as u64;
        let mut inner = shared.lock();
        inner.store.uploaded_bytes += piece.len() as u64;
        inner.store.uploads.get_mut(&id).ok_or(404_u16)?.bytes.extend_from_slice(&piece);
    }
    broken.whole = true;
    Ok(shared.lock().store.uploads.get(&id).map_or(0, |pending| pending.bytes.len()))
}

/// A request that breaks off, also when nobody is told of it.
struct Broken<'a> {
    shared: &'a Shared,
    id: u64,
    whole: bool,
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if !self.whole && inner.faults.forgetful {
            inner.store.uploads.remove(&self.id);
        }
    }
}

/// Reads on, as servers do for a while: a connection that is closed with unread bytes takes the answer with it.
async fn linger(body: Body) {
    let mut body = body.into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

async fn patch(shared: &Shared, parts: &Parts, repository: &str, id: u64, body: Body) -> Response {
    let here = shared.lock().store.uploads.get(&id).map(|pending| pending.bytes.len());
    let Some(here) = here else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
    let begins = header(parts, &CONTENT_RANGE).and_then(|range| range.split('-').next()?.parse().ok());
    if begins.is_some_and(|begins: usize| begins != here) {
        return with(error(416, "RANGE_INVALID"), &[place(repository, id), range(here)]);
    }
    match take(shared, parts, id, body).await {
        Ok(bytes) => with(plain(202), &[place(repository, id), range(bytes)]),
        Err(status) => error(status, "SIZE_INVALID"),
    }
}

async fn finish(shared: &Shared, parts: &Parts, repository: &str, id: u64, body: Body) -> Response {
    if !shared.lock().store.uploads.contains_key(&id) {
        return error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    if let Err(status) = take(shared, parts, id, body).await {
        return error(status, "SIZE_INVALID");
    }
    let mut inner = shared.lock();
    let Some(digest) = query(parts, "digest").and_then(|digest| digest.parse::<Digest>().ok()) else { return error(400, "DIGEST_INVALID") };
    let Some(pending) = inner.store.uploads.remove(&id) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
    let blob = pending.bytes.freeze();
    if Digest::of(&blob) != digest {
        return error(400, "DIGEST_INVALID");
    }
    inner.store.repository(repository).blobs.insert(digest, blob);
    let named = if inner.faults.lie == Some(Lie::Blob) { Digest::of(b"a lie") } else { digest };
    with(plain(201), &[(DIGEST, named.to_string())])
}

async fn publish(shared: &Shared, repository: &str, reference: &str, body: Body) -> Response {
    let Ok(manifest) = axum::body::to_bytes(body, 4 << 20).await else { return error(413, "SIZE_INVALID") };
    let mut inner = shared.lock();
    let lies = inner.faults.lie == Some(Lie::Manifest);
    let repository = inner.store.repository(repository);
    if !repository.can_take(&manifest) {
        return error(404, "MANIFEST_BLOB_UNKNOWN");
    }
    let digest = Digest::of(&manifest);
    repository.manifests.insert(digest, manifest);
    if reference.parse::<Digest>().is_err() {
        repository.tags.insert(reference.to_owned(), digest);
    }
    let named = if lies { Digest::of(b"a lie") } else { digest };
    with(plain(201), &[(DIGEST, named.to_string())])
}

fn blob(shared: &Shared, parts: &Parts, repository: &str, digest: &str) -> Response {
    let mut inner = shared.lock();
    let blob = digest.parse().ok().and_then(|digest| inner.store.repository(repository).blobs.get(&digest).cloned());
    let Some(mut blob) = blob else { return error(404, "BLOB_UNKNOWN") };
    if inner.faults.lie == Some(Lie::Sent) && !blob.is_empty() {
        let mut wrong = BytesMut::from(&blob[..]);
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        blob = wrong.freeze();
    }
    let size = blob.len();
    let from = header(parts, &RANGE).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: Option<usize> = from.filter(|_| !inner.faults.no_ranges);
    let (status, from) = match from {
        Some(from) if from >= size => return error(416, "RANGE_INVALID"),
        Some(from) => (206, from),
        None => (200, 0),
    };
    let mut response = plain(status);
    let rest = blob.slice(from..);
    let mut headers = vec![(DIGEST, digest.to_owned()), (CONTENT_LENGTH.as_str(), rest.len().to_string())];
    if status == 206 {
        headers.push((CONTENT_RANGE.as_str(), format!("bytes {from}-{}/{size}", size - 1)));
    }
    if parts.method == Method::GET {
        *response.body_mut() = match inner.faults.cut_blob_bytes.filter(|cut| *cut < rest.len()) {
            Some(cut) => {
                let broken: [io::Result<Bytes>; 2] = [Ok(rest.slice(..cut)), Err(io::ErrorKind::BrokenPipe.into())];
                // The bytes before the break are to get out.
                Body::from_stream(stream::iter(broken).then(|piece| async {
                    if piece.is_err() {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    piece
                }))
            }
            None => Body::from(rest),
        };
    }
    with(response, &headers)
}

fn tags(shared: &Shared, parts: &Parts, name: &str) -> Response {
    let mut inner = shared.lock();
    let page = inner.faults.page_tags.unwrap_or(usize::MAX);
    let last = query(parts, "last").unwrap_or_default();
    let all: Vec<String> = inner.store.repository(name).names().into_iter().filter(|tag| **tag > *last).map(str::to_owned).collect();
    let here = &all[..all.len().min(page)];
    let mut response = plain(200);
    *response.body_mut() = Body::from(serde_json::json!({ "name": name, "tags": here }).to_string());
    match here.last().filter(|_| here.len() < all.len()) {
        Some(last) => with(response, &[(LINK.as_str(), format!("</v2/{name}/tags/list?last={last}>; rel=\"next\""))]),
        None => response,
    }
}
