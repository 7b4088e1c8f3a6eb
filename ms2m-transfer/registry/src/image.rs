//! A part as an image: what its manifest and its configuration say.

use std::collections::HashMap;

use ms2m_core::{Digest, Error, ErrorKind, MigrationId, Part};
use oci_spec::image::{
    Descriptor, DescriptorBuilder, ImageConfigurationBuilder, ImageManifest, ImageManifestBuilder, MediaType, RootFsBuilder,
};
use serde::Serialize;

use crate::fault::Fault;
use crate::options::RegistryOptions;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Larger ones are not ours.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;

const MIGRATION: &str = "migration.ms2m.io/id";
const PART: &str = "migration.ms2m.io/part";

/// The documents around a layer. The same part with the same bytes always has the same ones.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    pub(crate) fn new(migration: &MigrationId, part: Part, layer: Digest, bytes: u64, options: &RegistryOptions) -> Result<Self, Fault> {
        let own = HashMap::from([(MIGRATION.to_owned(), migration.to_string()), (PART.to_owned(), part.to_string())]);
        let labels = oci_spec::image::ConfigBuilder::default().labels(own.clone()).build().map_err(impossible)?;
        // The labels tell the configurations of two migrations with the same bytes apart, so that each can be removed.
        let config = ImageConfigurationBuilder::default()
            .config(labels)
            .rootfs(RootFsBuilder::default().diff_ids(vec![layer.to_string()]).build().map_err(impossible)?)
            .history(Vec::new())
            .build()
            .map_err(impossible)?;
        let config = canonical(&config)?;
        let annotations: HashMap<_, _> = options.annotations.clone().into_iter().chain(own).collect();
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, Digest::of(&config), config.len() as u64)?)
            .layers(vec![descriptor(MediaType::from(options.layer_media_type.as_str()), layer, bytes)?])
            .annotations(annotations)
            .build()
            .map_err(impossible)?;
        Ok(Self { manifest: canonical(&manifest)?, config })
    }
}

/// What a manifest refers to: configuration and layers.
pub(crate) fn blobs(manifest: &[u8]) -> Result<(Digest, Vec<Digest>), Fault> {
    let absurd = |what: String| Fault::Absurd(format!("a manifest that is none: {what}"));
    let manifest: ImageManifest = serde_json::from_slice(manifest).map_err(|error| absurd(error.to_string()))?;
    let digest = |descriptor: &Descriptor| descriptor.digest().to_string().parse::<Digest>().map_err(|error| absurd(error.to_string()));
    Ok((digest(manifest.config())?, manifest.layers().iter().map(digest).collect::<Result<_, _>>()?))
}

fn descriptor(media_type: MediaType, digest: Digest, bytes: u64) -> Result<Descriptor, Fault> {
    let parsed: oci_spec::image::Digest = digest.to_string().parse().map_err(impossible)?;
    DescriptorBuilder::default().media_type(media_type).digest(parsed).size(bytes).build().map_err(impossible)
}

/// With sorted keys: the maps inside have no order.
fn canonical(document: &impl Serialize) -> Result<Vec<u8>, Fault> {
    let mut value = serde_json::to_value(document).map_err(impossible)?;
    value.sort_all_objects();
    serde_json::to_vec(&value).map_err(impossible)
}

fn impossible(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Ours(Error::fatal(ErrorKind::Invalid, "the image of a checkpoint cannot be described").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_the_same_each_time_and_name_the_layer() {
        let annotations = (0..20).map(|n| (format!("annotation-{n}"), "x".to_owned())).collect();
        let options = RegistryOptions { annotations, ..RegistryOptions::default() };
        let migration = MigrationId::new("a").unwrap();
        let layer = Digest::of(b"layer");
        let image = |part| Image::new(&migration, part, layer, 5, &options).unwrap();
        let first = image(Part::Final);
        for _ in 0..10 {
            assert_eq!(image(Part::Final).manifest, first.manifest);
        }
        assert_ne!(image(Part::Round(1)).manifest, first.manifest);
        assert_ne!(image(Part::Round(1)).config, first.config);
        assert_eq!(blobs(&first.manifest).unwrap(), (Digest::of(&first.config), vec![layer]));
        let text = String::from_utf8(first.config).unwrap();
        assert!(text.contains(&format!(r#""diff_ids":["{layer}"]"#)) && !text.contains("created"), "{text}");
        assert!(matches!(blobs(b"{}"), Err(Fault::Absurd(_))));
    }
}
