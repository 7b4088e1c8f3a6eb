//! What is in the registry.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use ms2m_core::Digest;

/// What is in a registry, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Blobs, each counted once for a repository.
    pub blobs: usize,
    /// Manifests.
    pub manifests: usize,
    /// Tags.
    pub tags: usize,
    /// Uploads that have not ended.
    pub uploads: usize,
    /// Bytes of all blobs that have come by uploads, those sent again included.
    pub uploaded_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) uploads: BTreeMap<u64, Pending>,
    next_upload: u64,
    pub(super) uploaded_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    pub(super) manifests: BTreeMap<Digest, Bytes>,
    pub(super) tags: BTreeMap<String, Digest>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) repository: String,
    pub(super) bytes: BytesMut,
}

impl Store {
    pub(super) fn census(&self) -> Census {
        let count = |of: fn(&Repository) -> usize| self.repositories.values().map(of).sum();
        Census {
            blobs: count(|repository| repository.blobs.len()),
            manifests: count(|repository| repository.manifests.len()),
            tags: count(|repository| repository.tags.len()),
            uploads: self.uploads.len(),
            uploaded_bytes: self.uploaded_bytes,
        }
    }

    pub(super) fn begin(&mut self, repository: &str) -> u64 {
        self.next_upload += 1;
        self.uploads.insert(self.next_upload, Pending { repository: repository.to_owned(), ..Pending::default() });
        self.next_upload
    }

    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}

impl Repository {
    /// By tag or digest.
    pub(super) fn manifest(&self, reference: &str) -> Option<(Digest, Bytes)> {
        let digest = reference.parse().ok().or_else(|| self.tags.get(reference).copied())?;
        Some((digest, self.manifests.get(&digest)?.clone()))
    }

    /// Whether all that a manifest refers to is there.
    pub(super) fn can_take(&self, manifest: &[u8]) -> bool {
        let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(manifest) else { return false };
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let mut referred = layers.chain([&manifest["config"]]).map(|descriptor| descriptor["digest"].as_str()?.parse::<Digest>().ok());
        referred.all(|digest| digest.is_some_and(|digest| self.blobs.contains_key(&digest)))
    }

    /// Removes a manifest and its tags.
    pub(super) fn remove(&mut self, digest: Digest) -> bool {
        self.tags.retain(|_, tagged| *tagged != digest);
        self.manifests.remove(&digest).is_some()
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.tags.keys().map(String::as_str).collect()
    }
}
