//! [`Checkpoint`]: an image of one, its documents checked.

use std::collections::BTreeMap;

use ms2m_core::Digest;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType, SCHEMA_VERSION};
use serde::de::DeserializeOwned;

use super::layer::LayerReader;
use super::section::Section;
use super::store::{Store, digest};
use crate::error::{OciError, Result, Rule};
use crate::facts::{CONTAINERD, CRI_O};
use crate::image::{Layer, LayerKind};
use crate::limits::Limits;

/// The image of a checkpoint in a [`Layout`](super::Layout). Its documents are as their digests say; its layer is checked while it is read.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    pub(super) store: &'a Store,
    pub(super) limits: Limits,
    pub(super) section: Section,
    layer: Layer,
    manifest: Digest,
    annotations: BTreeMap<String, String>,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn read(store: &'a Store, image: &Descriptor, limits: &Limits) -> Result<Self> {
        expect_type(image, &MediaType::ImageManifest)?;
        let manifest_digest = digest(image.digest().as_ref())?;
        let manifest: ImageManifest = parse(image, &store.document(image, limits)?)?;
        if manifest.schema_version() != SCHEMA_VERSION {
            return Err(OciError::refuse(Rule::WellFormed, image.digest(), format!("its schema version is {}", manifest.schema_version())));
        }
        if let Some(other) = manifest.media_type().as_ref().filter(|own| **own != MediaType::ImageManifest) {
            return Err(OciError::refuse(Rule::MediaType, image.digest(), format!("the manifest calls itself {other}")));
        }
        let mut annotations = BTreeMap::new();
        // What the manifest says is under the digest; what the index says of it is not.
        for told in [image.annotations(), manifest.annotations()].into_iter().flatten() {
            annotations.extend(told.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if ![CRI_O, CONTAINERD].iter().any(|name| annotations.contains_key(*name)) {
            return Err(OciError::refuse(Rule::Checkpoint, image.digest(), format!("it has neither annotation {CRI_O} nor {CONTAINERD}")));
        }
        let [layer] = manifest.layers().as_slice() else {
            return Err(OciError::refuse(Rule::OneLayer, image.digest(), format!("it has {} layers", manifest.layers().len())));
        };
        expect_type(manifest.config(), &MediaType::ImageConfig)?;
        let config: ImageConfiguration = parse(manifest.config(), &store.document(manifest.config(), limits)?)?;
        let [diff_id] = config.rootfs().diff_ids().as_slice() else {
            let reason = format!("it knows of {} layers", config.rootfs().diff_ids().len());
            return Err(OciError::refuse(Rule::OneLayer, manifest.config().digest(), reason));
        };
        let kind = LayerKind::of(layer.media_type()).ok_or_else(|| {
            OciError::refuse(Rule::MediaType, layer.digest(), format!("a layer of the media type {} is not read here", layer.media_type()))
        })?;
        let (layer_digest, section) = store.blob(layer, limits.layer_bytes)?;
        let layer = Layer { kind, digest: layer_digest, bytes: section.bytes, diff_id: digest(diff_id)? };
        if kind == LayerKind::Tar && layer.diff_id != layer.digest {
            let reason = format!("the configuration announces {} for this plain layer", layer.diff_id);
            return Err(OciError::refuse(Rule::DigestMatch, layer.digest, reason));
        }
        Ok(Self { store, limits: *limits, section, layer, manifest: manifest_digest, annotations })
    }

    /// The manifest's digest, which names the whole image.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest
    }

    /// What its documents say of the layer.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// The annotations. Words of whoever made the image: for people, and for deciding what to refuse.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// The archive's bytes, decompressed.
    ///
    /// # Errors
    /// When decompression cannot begin.
    pub fn reader(&self) -> Result<LayerReader> {
        LayerReader::new(self.section.clone(), self.layer, &self.limits)
    }
}

fn expect_type(descriptor: &Descriptor, expected: &MediaType) -> Result<()> {
    if descriptor.media_type() == expected {
        return Ok(());
    }
    Err(OciError::refuse(Rule::MediaType, descriptor.digest(), format!("it is announced as {}, not {expected}", descriptor.media_type())))
}

fn parse<T: DeserializeOwned>(descriptor: &Descriptor, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| OciError::refuse(Rule::WellFormed, descriptor.digest(), error.to_string()))
}
