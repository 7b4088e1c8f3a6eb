//! What the archive says of itself, for the image's annotations. An archive that breaks a rule of archives is refused here.

use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_criu::archive::{Compression, Limits};
use ms2m_criu::inspect::{Here, Inspection, SourceKind, inspect};
use ms2m_oci::Facts;

/// Walks the archive's members and decodes its documents; pages are left out.
///
/// # Errors
/// When it cannot be read, breaks a rule of archives, or is compressed.
pub fn facts(archive: &Path) -> Result<Facts> {
    // What can be restored here does not matter: another machine will.
    let inspection = inspect(archive, &Limits::default(), &Here::default())?;
    let refuse = |message: String| Err(Error::fatal(ErrorKind::Unsupported, message).with("path", archive.display()));
    if inspection.source.kind != SourceKind::Archive {
        return refuse("only an archive can be packed; give the tar of the checkpoint, not a directory".into());
    }
    match inspection.source.compression {
        None | Some(Compression::None) => Ok(of(&inspection)),
        Some(Compression::Gzip) => refuse("the archive is compressed, and an image holds a plain one; `gunzip` it first".into()),
        Some(Compression::Zstd) => refuse(
            "the archive is compressed, and an image holds a plain one; `zstd -d` it first, or export it with --compress=none (podman)"
                .into(),
        ),
    }
}

fn of(inspection: &Inspection) -> Facts {
    let mut facts = Facts {
        engine: inspection.engine.map(|engine| engine.as_str().to_owned()),
        criu_version: inspection.criu_version.clone(),
        architecture: inspection.architecture.clone(),
        kernel: inspection.kernel.clone(),
        ..Facts::default()
    };
    if let Some(container) = inspection.containers.first() {
        let pod = container.pod.as_ref();
        facts.container.clone_from(&container.name);
        facts.pod = pod.map(|pod| pod.name.clone());
        facts.namespace = pod.map(|pod| pod.namespace.clone());
        facts.pod_uid = pod.and_then(|pod| pod.uid.clone());
        facts.image_name.clone_from(&container.image);
        facts.image_ref.clone_from(&container.image_ref);
        facts.runtime.clone_from(&container.runtime);
        facts.taken_at.clone_from(&container.checkpointed);
        let mounted = |fstype: &str| container.criu_mounts.iter().any(|mount| mount.fstype == fstype);
        facts.cgroup_version = match (mounted("cgroup"), mounted("cgroup2")) {
            // Both is version 1 with a hierarchy of version 2 for names alone.
            (true, _) => Some("1".into()),
            (false, true) => Some("2".into()),
            (false, false) => None,
        };
    }
    facts
}
