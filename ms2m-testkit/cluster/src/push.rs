//! Images for a cluster, made of programs: one layer, packed by the machine's `tar`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use ms2m_testkit_machine::Machine;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::run;
use crate::{ClusterError, Image};

/// Writes an image as a tar that `ctr` and skopeo read, to a path of the machine.
pub(crate) fn write(machine: &Machine, image: &Image, name: &str, to: &Path) -> Result<(), ClusterError> {
    let layer = layer(machine, image)?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint() },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut named = descriptor("manifest.v1+json", &manifest);
    named["annotations"] = json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "image" });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [named] });
    let layout = to.with_extension("layout");
    let written = || -> io::Result<()> {
        let seen = machine.path(&layout);
        let blobs = seen.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        fs::write(seen.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        fs::write(seen.join("index.json"), index.to_string())?;
        for blob in [&layer, &config, &manifest] {
            fs::write(blobs.join(digest(blob).trim_start_matches("sha256:")), blob)?;
        }
        Ok(())
    };
    written().map_err(ClusterError::io(format!("write the image {name}")))?;
    run(machine.command("tar").arg("--create").arg("--file").arg(to).arg("--directory").arg(&layout).arg("."), "tar")?;
    fs::remove_dir_all(machine.path(&layout)).map_err(ClusterError::io("remove the image's layout"))
}

/// The programs at the root, and each library where a program looks for it.
fn layer(machine: &Machine, image: &Image) -> Result<Vec<u8>, ClusterError> {
    let mut tar = machine.command("tar");
    tar.args(["--create", "--dereference", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    let mut libraries = BTreeSet::new();
    for program in image.programs() {
        let (directory, name) = (program.parent().unwrap_or(Path::new("/")), program.file_name().unwrap_or_default());
        tar.arg("--directory").arg(directory).arg(name);
        let listed = machine.command("ldd").arg(program).output().map_err(ClusterError::io("run ldd"))?;
        // One that is static has none, and ldd fails.
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        libraries.extend(listed.split_whitespace().filter(|word| word.starts_with('/') && Path::new(word) != program).map(str::to_owned));
    }
    for library in libraries {
        tar.args(["--directory", "/"]).arg(library.trim_start_matches('/'));
    }
    run(&mut tar, "tar")
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}
