//! The image of a cluster: the programs at its root, and nothing else.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use crate::cargo::workspace_root;
use crate::provide::{PROGRAMS, static_programs};
use crate::rules::Workspace;
use crate::steps::{Outcome, Steps};

/// Beside the programs themselves, for `docker build`.
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");

pub(crate) fn run(steps: &mut Steps) {
    steps.run("image", || {
        let (outcome, programs) = static_programs(true, &PROGRAMS)?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
        let workspace = Workspace::load(&workspace_root())?;
        let to = workspace.metadata().target_directory.join("image").into_std_path_buf();
        fs::create_dir_all(&to).with_context(|| format!("{} cannot be made", to.display()))?;
        for program in PROGRAMS {
            fs::copy(programs.join(program), to.join(program))?;
        }
        fs::write(to.join("Dockerfile"), DOCKERFILE)?;
        let version = env!("CARGO_PKG_VERSION");
        write(&to, &PROGRAMS, version, &to.join("ms2m.tar"))?;
        println!("{}: push it with `skopeo copy oci-archive:FILE docker://REGISTRY/ms2m:{version}`", to.join("ms2m.tar").display());
        Ok(Outcome::Passed)
    });
}

/// Writes an OCI archive. The same programs make the same bytes.
fn write(programs: &Path, names: &[&str], version: &str, to: &Path) -> Result<()> {
    let unfinished = to.with_extension("layer");
    let mut layer = Builder::new(File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?);
    for name in names {
        let mut program = File::open(programs.join(name)).with_context(|| format!("{name} is not there"))?;
        layer.append_data(&mut header(program.metadata()?.len(), 0o755), name, &mut program)?;
    }
    let mut layer = layer.into_inner()?;
    let (layer_digest, layer_bytes) = digested(&mut layer)?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Labels": { "org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0" } },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config),
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_bytes }],
    })
    .to_string();
    let mut named = described("manifest.v1+json", &manifest);
    named["annotations"] =
        json!({ "org.opencontainers.image.ref.name": version, "io.containerd.image.name": format!("localhost/ms2m:{version}") });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [named] }).to_string();
    let mut archive = Builder::new(File::create(to)?);
    let blob = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    for (name, text) in [
        ("oci-layout".to_owned(), r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json".to_owned(), &index),
        (blob(&digest(&config)), &config),
        (blob(&digest(&manifest)), &manifest),
    ] {
        archive.append_data(&mut header(u64::try_from(text.len())?, 0o644), name, text.as_bytes())?;
    }
    layer.rewind()?;
    archive.append_data(&mut header(layer_bytes, 0o644), blob(&layer_digest), &mut layer)?;
    archive.into_inner()?.sync_all()?;
    fs::remove_file(unfinished)?;
    Ok(())
}

fn header(bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn described(kind: &str, text: &str) -> Value {
    json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(text), "size": text.len() })
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn digested(file: &mut File) -> Result<(String, u64)> {
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 1 << 16]);
    file.rewind()?;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((hex(&hash.finalize()), bytes));
        }
        hash.update(&piece[..read]);
        bytes += u64::try_from(read)?;
    }
}

fn hex(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_blobs_by_their_digests_and_is_the_same_again() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("one"), "program").unwrap();
        let image = || {
            write(root.path(), &["one"], "1.2.3", &root.path().join("image.tar")).unwrap();
            fs::read(root.path().join("image.tar")).unwrap()
        };
        assert_eq!(image(), image());
        assert!(!root.path().join("image.layer").exists());
        let mut blobs = 0;
        for entry in tar::Archive::new(File::open(root.path().join("image.tar")).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(digest) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(hex(&Sha256::digest(&content)), format!("sha256:{digest}"));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
        assert!(write(root.path(), &["two"], "1", &root.path().join("x.tar")).unwrap_err().to_string().contains("two"));
    }
}
