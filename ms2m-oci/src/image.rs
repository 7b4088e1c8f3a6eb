//! [`Image`]: configuration and manifest of a checkpoint, from what is known of its layer.

use std::collections::{BTreeMap, HashMap};

use ms2m_core::Digest;
use oci_spec::image::{Arch, ConfigBuilder, ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os, RootFsBuilder, SCHEMA_VERSION};

use crate::document::{Document, descriptor, hashed};
use crate::facts::{Facts, MIGRATION};

/// How a layer is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayerKind {
    /// It is the archive as it stands.
    Tar,
    /// gzip: how other tools pass layers on. Only read here.
    Gzip,
    /// zstd.
    Zstd,
}

impl LayerKind {
    pub(crate) fn media_type(self) -> MediaType {
        match self {
            Self::Tar => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    pub(crate) fn of(media_type: &MediaType) -> Option<Self> {
        [Self::Tar, Self::Gzip, Self::Zstd].into_iter().find(|kind| kind.media_type() == *media_type)
    }
}

/// What is known of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
    /// How it is compressed.
    pub kind: LayerKind,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The digest of the archive in it: the same as `digest` unless it is compressed.
    pub diff_id: Digest,
}

/// The image of a checkpoint. Equal layers and facts give equal images, so the manifest's digest names the checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its only layer.
    pub layer: Layer,
    /// Its configuration.
    pub config: Document,
    /// Its manifest, which names layer and configuration.
    pub manifest: Document,
    /// The annotations of the manifest, which belong on an index as well.
    pub annotations: BTreeMap<String, String>,
}

impl Image {
    /// The image of a checkpoint whose archive is in `layer`.
    ///
    /// # Panics
    /// Never: everything that the specification requires is given.
    #[must_use]
    pub fn new(layer: Layer, facts: &Facts) -> Self {
        let annotations = facts.annotations();
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id.to_string()]).build().expect("all is given");
        let mut config = ImageConfigurationBuilder::default().architecture(arch(facts)).os(Os::Linux).rootfs(rootfs);
        if let Some(created) = annotations.get("org.opencontainers.image.created") {
            config = config.created(created.clone());
        }
        if let Some(migration) = annotations.get(MIGRATION) {
            // The store of CRI-O knows an image by its configuration: those of two migrations are two, also when their bytes are the same.
            let labels = HashMap::from([(MIGRATION.to_owned(), migration.clone())]);
            config = config.config(ConfigBuilder::default().labels(labels).build().expect("all is given"));
        }
        let config = Document::new(MediaType::ImageConfig, &config.build().expect("all is given"));
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config.descriptor())
            .layers(vec![descriptor(layer.kind.media_type(), layer.digest, layer.bytes)])
            .annotations(hashed(&annotations));
        let manifest = Document::new(MediaType::ImageManifest, &manifest.build().expect("all is given"));
        Self { layer, config, manifest, annotations }
    }
}

/// In the words of OCI, which are Go's.
pub(crate) fn arch(facts: &Facts) -> Arch {
    match facts.architecture.as_deref() {
        Some("x86_64") => Arch::Amd64,
        Some("aarch64") => Arch::ARM64,
        Some("s390x") => Arch::s390x,
        Some("ppc64le") => Arch::PowerPC64le,
        Some("riscv64") => Arch::RISCV64,
        // What runs here was most likely taken on the like.
        _ => Arch::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_those_of_the_specification_and_always_the_same_bytes() {
        let digest = Digest::of(b"tar");
        let layer = Layer { kind: LayerKind::Tar, digest, bytes: 3, diff_id: digest };
        let facts = Facts { container: "main".into(), architecture: Some("aarch64".into()), ..Facts::default() };
        let image = Image::new(layer, &facts);
        assert_eq!(
            image.config.text(),
            format!(r#"{{"architecture":"arm64","os":"linux","rootfs":{{"diff_ids":["{digest}"],"type":"layers"}}}}"#)
        );
        let (config, bytes) = (image.config.digest(), image.config.text().len());
        assert_eq!(
            image.manifest.text(),
            format!(
                concat!(
                    r#"{{"annotations":{{"io.kubernetes.cri-o.annotations.checkpoint.name":"main","org.criu.checkpoint.container.name":"main","#,
                    r#""org.criu.checkpoint.host.arch":"aarch64"}},"#,
                    r#""config":{{"digest":"{}","mediaType":"application/vnd.oci.image.config.v1+json","size":{}}},"#,
                    r#""layers":[{{"digest":"{}","mediaType":"application/vnd.oci.image.layer.v1.tar","size":3}}],"#,
                    r#""mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#
                ),
                config, bytes, digest
            )
        );
        assert_eq!(image.manifest.digest(), Digest::of(image.manifest.text().as_bytes()));
    }
}
