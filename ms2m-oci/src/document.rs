//! The small JSON documents of an image.

use std::collections::{BTreeMap, HashMap};

use ms2m_core::Digest;
use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use serde_json::Value;

/// A document as it is written and hashed: the same bytes for the same content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    media_type: MediaType,
    digest: Digest,
    text: String,
}

impl Document {
    pub(crate) fn new(media_type: MediaType, content: &impl serde::Serialize) -> Self {
        // Types of the specification always have a JSON form.
        let mut value = serde_json::to_value(content).unwrap_or_default();
        value.sort_all_objects();
        let text = value.to_string();
        Self { media_type, digest: Digest::of(text.as_bytes()), text }
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.media_type.as_ref()
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        descriptor(self.media_type.clone(), self.digest, self.text.len() as u64)
    }
}

pub(crate) fn descriptor(media_type: MediaType, digest: Digest, bytes: u64) -> Descriptor {
    let builder = DescriptorBuilder::default().media_type(media_type).digest(oci_digest(digest)).size(bytes);
    builder.build().expect("media type, digest and size are all that a descriptor needs")
}

pub(crate) fn oci_digest(digest: Digest) -> oci_spec::image::Digest {
    digest.to_string().parse().expect("a digest of ours is one of OCI")
}

pub(crate) fn hashed(annotations: &BTreeMap<String, String>) -> HashMap<String, String> {
    annotations.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A document with its objects in order, as `Value` alone does not promise.
pub(crate) fn canonical(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}
