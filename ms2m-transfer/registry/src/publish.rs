//! The documents that make a layer an image. The manifest comes last.

use bytes::Bytes;
use ms2m_core::{Digest, Error, ErrorKind, Part, TransferJob};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use crate::auth::Action;
use crate::backend::Shared;
use crate::discard;
use crate::fault::Fault;
use crate::image::{Image, MANIFEST};
use crate::pauses::Pauses;
use crate::session::{Session, exists, same};
use crate::tag::{part_of, tag};

const CREATED: [StatusCode; 3] = [StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT];

/// Makes a layer that the registry has visible as this part, in place of what the part was before. Returns the image's digest.
pub(crate) async fn publish(shared: &Shared, job: &TransferJob, layer: Digest, pauses: &mut Pauses) -> Result<Digest, Fault> {
    let image = Image::new(&job.migration, job.part, layer, job.archive_bytes, &shared.options)?;
    small_blob(shared, image.config.into(), pauses).await?;
    let digest = Digest::of(&image.manifest);
    let own = tag(&job.migration, job.part, layer);
    // Two calls for one part must not remove each other's.
    let _one_at_a_time = shared.publishing.lock().await;
    put_manifest(shared, &own, &image.manifest, pauses).await?;
    if let (Some(name), Part::Final) = (&shared.tag, job.part) {
        put_manifest(shared, name, &image.manifest, pauses).await?;
    }
    let other = |found: &str| found != own && part_of(found, &job.migration) == Some(job.part);
    match discard::remove(shared, other, None).await {
        Ok(false) => {}
        // Another process may have done the same at the same time.
        Ok(true) => still_there(shared, &own, pauses).await?,
        // It stays findable for `discard` under its own tag.
        Err(fault) => tracing::warn!(%fault, "what this part of the checkpoint was before is still in the registry"),
    }
    Ok(digest)
}

async fn put_manifest(shared: &Shared, tag: &str, manifest: &[u8], pauses: &mut Pauses) -> Result<(), Fault> {
    let url = shared.client.url(&format!("manifests/{tag}"))?;
    let with = |request: reqwest::RequestBuilder| request.header(CONTENT_TYPE, MANIFEST).body(manifest.to_vec());
    let response = shared.client.patient(Action::Push, Method::PUT, &url, (&CREATED, pauses), with).await?;
    same(response.headers(), Digest::of(manifest))
}

async fn still_there(shared: &Shared, tag: &str, pauses: &mut Pauses) -> Result<(), Fault> {
    let url = shared.client.url(&format!("manifests/{tag}"))?;
    let wanted = [StatusCode::OK, StatusCode::NOT_FOUND];
    let with = |request: reqwest::RequestBuilder| request.header(ACCEPT, MANIFEST);
    let response = shared.client.patient(Action::Pull, Method::HEAD, &url, (&wanted, pauses), with).await?;
    if response.status() == StatusCode::OK {
        return Ok(());
    }
    let message = "another process has sent the same part of this checkpoint at the same time, and both are gone; send it once more";
    Err(Fault::Ours(Error::retry(ErrorKind::Unavailable, message)))
}

/// In one request, and again as a whole when that fails.
async fn small_blob(shared: &Shared, blob: Bytes, pauses: &mut Pauses) -> Result<(), Fault> {
    let digest = Digest::of(&blob);
    if exists(&shared.client, digest).await {
        return Ok(());
    }
    loop {
        let session = Session::begin(&shared.client, pauses).await?;
        match session.put(&blob, digest).await {
            Ok(()) => return Ok(()),
            Err(fault) => pauses.after(fault).await?,
        }
    }
}
