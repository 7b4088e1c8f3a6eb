//! `index.json`: which images a layout holds, and under which tags. Kept as JSON, so that what other tools have written stays.

use std::collections::BTreeMap;

use oci_spec::image::{ImageIndex, MediaType, Os, PlatformBuilder, SCHEMA_VERSION};
use serde_json::{Map, Value, json};

use crate::document::{canonical, hashed};
use crate::error::{OciError, Result, Rule};
use crate::facts::Facts;
use crate::image::{Image, arch};
use crate::name::Tag;

/// The annotation that holds an image's tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const INDEX: &str = "index.json";

/// An index that can be added to.
#[derive(Debug)]
pub(crate) struct Index(Value);

impl Index {
    pub(crate) fn empty() -> Self {
        Self(json!({ "schemaVersion": SCHEMA_VERSION, "mediaType": MediaType::ImageIndex, "manifests": [] }))
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        parse_index(text)?;
        let malformed = |error: serde_json::Error| OciError::refuse(Rule::WellFormed, INDEX, error.to_string());
        Ok(Self(serde_json::from_slice(text).map_err(malformed)?))
    }

    /// Adds an image. `false` when it is there under this tag already.
    pub(crate) fn add(&mut self, image: &Image, facts: &Facts, tag: &Tag, images_max: usize) -> Result<bool> {
        let Some(manifests) = self.0["manifests"].as_array_mut() else { return Err(no_manifests()) };
        let digest = image.manifest.digest().to_string();
        if let Some(tagged) = manifests.iter().find(|manifest| manifest["annotations"][REF_NAME] == tag.as_str()) {
            if tagged["digest"] == digest {
                return Ok(false);
            }
            let reason = format!("it names {}, not {digest}; give another tag, or another directory", tagged["digest"]);
            return Err(OciError::Exists { what: format!("the tag {tag}"), reason });
        }
        if manifests.len() >= images_max {
            let reason = format!("it holds {images_max} images, which is the limit; pack into another directory");
            return Err(OciError::refuse(Rule::Limit, INDEX, reason));
        }
        let mut annotations = image.annotations.clone();
        annotations.insert(REF_NAME.into(), tag.as_str().into());
        let mut descriptor = image.manifest.descriptor();
        descriptor.set_annotations(Some(hashed(&annotations)));
        let platform = PlatformBuilder::default().architecture(arch(facts)).os(Os::Linux).build().expect("all is given");
        descriptor.set_platform(Some(platform));
        manifests.push(json!(descriptor));
        self.annotate();
        Ok(true)
    }

    /// What all images agree on stands at the index as well: containerd reads it there when an index is all that it gets.
    fn annotate(&mut self) {
        let all = self.0["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut common: Option<BTreeMap<String, Value>> = None;
        for manifest in all {
            let own = manifest["annotations"].as_object().into_iter().flatten().filter(|(name, _)| is_of_a_checkpoint(name));
            let own: BTreeMap<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
            common = Some(match common {
                None => own,
                Some(common) => common.into_iter().filter(|(name, value)| own.get(name) == Some(value)).collect(),
            });
        }
        let mut annotations: Map<_, _> = self.0["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|name, _| !is_of_a_checkpoint(name));
        annotations.extend(common.unwrap_or_default());
        self.0["annotations"] = Value::Object(annotations);
    }

    pub(crate) fn text(&self) -> String {
        canonical(self.0.clone())
    }
}

/// The index as the specification has it.
pub(crate) fn parse_index(text: &[u8]) -> Result<ImageIndex> {
    let index: ImageIndex =
        serde_json::from_slice(text).map_err(|error| OciError::refuse(Rule::WellFormed, INDEX, format!("it is no index: {error}")))?;
    match index.media_type() {
        None | Some(MediaType::ImageIndex) => Ok(index),
        Some(other) => Err(OciError::refuse(Rule::MediaType, INDEX, format!("its media type is {other}"))),
    }
}

fn no_manifests() -> OciError {
    OciError::refuse(Rule::WellFormed, INDEX, "it has no list of manifests")
}

fn is_of_a_checkpoint(annotation: &str) -> bool {
    annotation != REF_NAME
        && ["org.criu.checkpoint.", "io.kubernetes.cri-o.annotations.checkpoint.", "io.ms2m.", "org.opencontainers.image.created"]
            .iter()
            .any(|prefix| annotation.starts_with(prefix))
}
