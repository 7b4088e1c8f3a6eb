//! Out of the registry again.

use std::collections::BTreeSet;
use std::time::Duration;

use ms2m_core::Digest;
use reqwest::header::{ACCEPT, LINK};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::auth::Action;
use crate::backend::Shared;
use crate::client::limited;
use crate::fault::Fault;
use crate::image::{MANIFEST, MANIFEST_BYTES_MAX, blobs};
use crate::pauses::Pauses;
use crate::tag::may_hold;

/// For each of its requests, pauses included.
const PATIENCE: Duration = Duration::from_secs(30);
const PAGES_MAX: usize = 1000;
const PAGE_BYTES_MAX: usize = 8 << 20;
const REMOVED: [StatusCode; 4] = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_FOUND];

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// Blobs that may be there without an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphans {
    pub(crate) layer: Digest,
    pub(crate) config: Digest,
}

/// Removes the images under these tags, and what of them nobody else uses, and orphans. Says whether there were such tags.
///
/// # Errors
/// When something may be left over; as much as possible is removed all the same.
pub(crate) async fn remove(shared: &Shared, wanted: impl Fn(&str) -> bool, orphans: Option<Orphans>) -> Result<bool, Fault> {
    let mut layers = BTreeSet::from_iter(orphans.map(|orphans| orphans.layer));
    let mut configs = BTreeSet::from_iter(orphans.map(|orphans| orphans.config));
    let (mut left, mut found) = (None, false);
    for tag in tags(shared).await?.iter().filter(|tag| wanted(tag)) {
        found = true;
        match image(shared, tag).await {
            Ok(Some((config, of_image))) => {
                configs.insert(config);
                layers.extend(of_image);
            }
            Ok(None) => {}
            Err(fault) => left = Some(fault),
        }
    }
    if layers.is_empty() && configs.is_empty() {
        return left.map_or(Ok(found), Err);
    }
    // Asked again: whoever else removes the last but one image with these bytes must not leave them to us while we leave them to him.
    let others = tags(shared).await?;
    layers.retain(|layer| !others.iter().any(|tag| may_hold(tag, *layer)));
    for blob in configs.into_iter().chain(layers) {
        if let Err(fault) = delete(shared, &format!("blobs/{blob}")).await {
            left = Some(fault);
        }
    }
    left.map_or(Ok(found), Err)
}

/// Removes one image; what it referred to.
async fn image(shared: &Shared, tag: &str) -> Result<Option<(Digest, Vec<Digest>)>, Fault> {
    let url = shared.client.url(&format!("manifests/{tag}"))?;
    let wanted = [StatusCode::OK, StatusCode::NOT_FOUND];
    let with = |request: reqwest::RequestBuilder| request.header(ACCEPT, MANIFEST);
    let response = shared.client.patient(Action::Pull, Method::GET, &url, (&wanted, &mut pauses()), with).await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let manifest = limited(response, MANIFEST_BYTES_MAX).await?;
    let refers = blobs(&manifest)?;
    delete(shared, &format!("manifests/{}", Digest::of(&manifest))).await?;
    Ok(Some(refers))
}

async fn delete(shared: &Shared, path: &str) -> Result<(), Fault> {
    let url = shared.client.url(path)?;
    match shared.client.patient(Action::Delete, Method::DELETE, &url, (&REMOVED, &mut pauses()), |request| request).await {
        Ok(_) => Ok(()),
        Err(Fault::Refused {
            status: StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST,
            said,
            ..
        }) => Err(Fault::Kept { what: path.to_owned(), said }),
        Err(fault) => Err(fault),
    }
}

/// All tags of the repository; none when there is no repository.
pub(crate) async fn tags(shared: &Shared) -> Result<Vec<String>, Fault> {
    let mut all = Vec::new();
    let mut next = Some(shared.client.url("tags/list?n=1000")?);
    for _ in 0..PAGES_MAX {
        let Some(url) = next.take() else { return Ok(all) };
        let wanted = [StatusCode::OK, StatusCode::NOT_FOUND];
        let response = shared.client.patient(Action::Pull, Method::GET, &url, (&wanted, &mut pauses()), |request| request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(all);
        }
        // `<URL>; rel="next"`
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let link = link.and_then(|link| link.split(';').next()?.trim().strip_prefix('<')?.strip_suffix('>'));
        next = link.and_then(|link| url.join(link).ok());
        let page: Tags = serde_json::from_slice(&limited(response, PAGE_BYTES_MAX).await?)
            .map_err(|error| Fault::Absurd(format!("a list of tags that is none: {error}")))?;
        all.extend(page.tags.into_iter().flatten());
    }
    Err(Fault::Absurd("its list of tags has no end".into()))
}

fn pauses() -> Pauses {
    Pauses::new(Instant::now() + PATIENCE)
}
