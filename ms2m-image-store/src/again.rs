//! Another image of the same layers: the same to whoever runs it, and one of its own to kubelet.
//!
//! kubelet (1.35 and newer) remembers by which names and with which logins it has pulled an image, and does not let a pod have it under another one. Of an image that
//! it has not pulled it remembers nothing.

use std::io::{self, Write};

use ms2m_core::{Digest, Error, ErrorKind, MigrationId, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// By which the images differ.
const LABEL: &str = "io.ms2m.copy";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What an image is made of, beside its layers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Again {
    manifest: (String, Vec<u8>),
    config: Vec<u8>,
}

/// The digest in `NAME@DIGEST`.
pub(crate) fn digest_of(reference: &str) -> Result<&str> {
    let digest = reference.rsplit_once('@').map(|(_, digest)| digest).filter(|digest| digest.parse::<Digest>().is_ok());
    digest.ok_or_else(|| Error::fatal(ErrorKind::Invalid, "the application's image is not named by its digest").with("image", reference))
}

pub(crate) fn document(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::undo(ErrorKind::Corrupt, "a document of the application's image is not understood").caused_by(error))
}

/// The digest of the manifest for this machine, in an image of several platforms; `None` when this is a manifest.
pub(crate) fn for_this_machine(index: &Value) -> Result<Option<String>> {
    let Some(manifests) = index["manifests"].as_array() else { return Ok(None) };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |one: &&Value| one["platform"]["os"] == "linux" && one["platform"]["architecture"] == architecture;
    let found = manifests.iter().find(fits).and_then(|one| one["digest"].as_str());
    let missing =
        || Error::undo(ErrorKind::Unsupported, "the application's image is none for this machine").with("architecture", architecture);
    found.map(|digest| Some(digest.to_owned())).ok_or_else(missing)
}

/// The digest of the configuration that a manifest names.
pub(crate) fn config_of(manifest: &Value) -> Result<&str> {
    manifest["config"]["digest"].as_str().ok_or_else(|| Error::undo(ErrorKind::Corrupt, "the application's image has no configuration"))
}

impl Again {
    /// Of an image with this manifest and configuration, for the copy of this migration.
    pub(crate) fn of(mut manifest: Value, mut config: Value, migration: &MigrationId) -> Self {
        if !config["config"].is_object() {
            config["config"] = json!({});
        }
        if !config["config"]["Labels"].is_object() {
            config["config"]["Labels"] = json!({});
        }
        config["config"]["Labels"][LABEL] = migration.as_str().into();
        let config = config.to_string().into_bytes();
        manifest["config"]["digest"] = Digest::of(&config).to_string().into();
        manifest["config"]["size"] = config.len().into();
        let kind = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        Self { manifest: (kind, manifest.to_string().into_bytes()), config }
    }

    /// A tar of its layout, with this tag, for a store that has the layers.
    pub(crate) fn write(&self, tag: &str, to: impl Write) -> io::Result<()> {
        let (kind, manifest) = &self.manifest;
        let digest = Digest::of(manifest);
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": kind, "digest": digest, "size": manifest.len(), "annotations": { "org.opencontainers.image.ref.name": tag },
            }],
        });
        let mut tar = Builder::new(to);
        let mut add = |name: String, content: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content)
        };
        add("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json".to_owned(), index.to_string().as_bytes())?;
        for blob in [&self.config, manifest] {
            add(format!("blobs/{}", Digest::of(blob).to_string().replace(':', "/")), blob)?;
        }
        tar.into_inner()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_same_layers_and_another_configuration() {
        let migration = MigrationId::new("m-1").unwrap();
        let layers = json!([{ "digest": "sha256:aa", "size": 1 }]);
        let manifest = json!({ "schemaVersion": 2, "config": { "mediaType": "c", "digest": "sha256:bb", "size": 2 }, "layers": layers });
        let config = json!({ "architecture": "amd64", "config": { "Cmd": ["/app"] }, "rootfs": { "diff_ids": ["sha256:cc"] } });
        let again = Again::of(manifest.clone(), config.clone(), &migration);
        let made = document(std::str::from_utf8(&again.manifest.1).unwrap()).unwrap();
        assert_eq!(made["layers"], layers);
        assert_eq!(config_of(&made).unwrap(), Digest::of(&again.config).to_string());
        assert_ne!(config_of(&made).unwrap(), config_of(&manifest).unwrap());
        let kept = document(std::str::from_utf8(&again.config).unwrap()).unwrap();
        assert_eq!((&kept["config"]["Cmd"], &kept["rootfs"]), (&config["config"]["Cmd"], &config["rootfs"]));
        assert_eq!(again, Again::of(manifest, config, &migration), "the same again");

        let mut tar = Vec::new();
        again.write("m-1", &mut tar).unwrap();
        let names: Vec<_> =
            tar::Archive::new(tar.as_slice()).entries().unwrap().map(|one| one.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&format!("blobs/sha256/{}", Digest::of(&again.config).to_string().trim_start_matches("sha256:"))));
    }

    #[test]
    fn the_manifest_is_that_of_this_machine() {
        assert_eq!(for_this_machine(&json!({ "layers": [] })).unwrap(), None);
        let one = |architecture: &str| json!({ "digest": format!("sha256:{architecture}"), "platform": { "os": "linux", "architecture": architecture } });
        let index = json!({ "manifests": [one("s390x"), one("amd64"), one("arm64")] });
        let found = for_this_machine(&index).unwrap().unwrap();
        assert!(["sha256:amd64", "sha256:arm64"].contains(&found.as_str()), "{found}");
        assert_eq!(for_this_machine(&json!({ "manifests": [one("none")] })).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn an_image_by_tag_is_refused() {
        assert_eq!(digest_of("orders:1").unwrap_err().kind(), ErrorKind::Invalid);
        let digest = Digest::of(b"x").to_string();
        assert_eq!(digest_of(&format!("registry.example:5000/orders@{digest}")).unwrap(), digest);
    }
}
