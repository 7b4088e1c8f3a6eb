//! The archive that becomes the image: what has arrived, as a container engine would have written it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use ms2m_core::{Digest, Error, ErrorKind, Result};
use ms2m_oci::Hashing;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::Copy;
use super::record::failed;

/// What containerd reads before it restores, beside the directory of CRIU's images. A checkpoint of ms2m has none of it.
///
/// Of the annotations kubelet's own take the place of those that are here already and of no others. Without the hash kubelet would take the container for
/// one of another specification, and make it anew.
pub(super) fn write_documents(directory: &Path, copy: &Copy, container_id: &str) -> Result<()> {
    let Copy { namespace, pod, pod_uid, container, base_image } = copy;
    let config = json!({
        "id": container_id, "name": container, "rootfsImage": base_image, "rootfsImageRef": base_image, "rootfsImageName": base_image,
        "runtime": "io.containerd.runc.v2", "restored": false,
    });
    let spec = json!({
        "ociVersion": "1.1.0",
        "annotations": {
            "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": container,
            "io.kubernetes.cri.image-name": base_image, "io.kubernetes.cri.sandbox-name": pod,
            "io.kubernetes.cri.sandbox-namespace": namespace, "io.kubernetes.cri.sandbox-uid": pod_uid,
        },
    });
    let status = json!({
        "id": container_id, "metadata": { "name": container }, "state": 1, "image": { "image": base_image }, "image_ref": base_image,
        "labels": {
            "io.kubernetes.container.name": container, "io.kubernetes.pod.name": pod,
            "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": pod_uid,
        },
        "annotations": {
            "io.kubernetes.container.hash": "", "io.kubernetes.container.restartCount": "0",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File", "io.kubernetes.pod.terminationGracePeriod": "30",
        },
    });
    [("config.dump", config), ("spec.dump", spec), ("status.dump", status)].into_iter().try_for_each(|(name, document)| {
        let file = directory.join(name);
        fs::write(&file, Value::to_string(&document)).map_err(failed(&file))
    })
}

/// Packs all of a directory into the file `to`; its digest and size.
pub(super) fn pack(directory: &Path, to: &Path) -> Result<(Digest, u64)> {
    let file = File::create(to).map_err(failed(to))?;
    let mut tar = Builder::new(Hashing::new(BufWriter::with_capacity(1 << 20, file)));
    append(&mut tar, directory, Path::new(""))?;
    let mut hashing = tar.into_inner().map_err(failed(to))?;
    hashing.flush().map_err(failed(to))?;
    Ok(hashing.finish())
}

fn append<W: Write>(tar: &mut Builder<W>, directory: &Path, inside: &Path) -> Result<()> {
    let at = directory.join(inside);
    let mut entries: Vec<_> = fs::read_dir(&at).and_then(|entries| entries.collect::<io::Result<_>>()).map_err(failed(&at))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), inside.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            tar.append_data(&mut header(EntryType::Directory, 0o700, 0), &name, io::empty()).map_err(failed(&path))?;
            append(tar, directory, &name)?;
        } else if kind.is_file() {
            let file = File::open(&path).map_err(failed(&path))?;
            let bytes = file.metadata().map_err(failed(&path))?.len();
            let content = io::BufReader::with_capacity(1 << 20, file);
            tar.append_data(&mut header(EntryType::Regular, 0o600, bytes), &name, content).map_err(failed(&path))?;
        } else {
            let message = "a checkpoint that becomes an image has files and directories only; take it without pre-dump rounds";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("path", path.display()));
        }
    }
    Ok(())
}

fn header(kind: EntryType, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use ms2m_criu::inspect::{Here, inspect};

    use super::*;

    #[test]
    fn what_is_written_is_taken_for_an_engines_checkpoint() {
        let home = tempfile::tempdir().unwrap();
        let (directory, file) = (home.path().join("checkpoint-of-ours"), home.path().join("archive.tar"));
        fs::create_dir_all(directory.join("checkpoint")).unwrap();
        fs::write(directory.join("checkpoint/pages-1.img"), vec![7; 5000]).unwrap();
        let copy = Copy {
            namespace: "shop".into(),
            pod: "orders-m01234567".into(),
            pod_uid: "u".into(),
            container: "main".into(),
            base_image: "registry.example/orders@sha256:12".into(),
        };
        write_documents(&directory, &copy, "abc").unwrap();
        let (digest, bytes) = pack(&directory, &file).unwrap();
        let written = fs::read(&file).unwrap();
        assert_eq!((Digest::of(&written), written.len() as u64), (digest, bytes));
        let inspected = inspect(&file, &Default::default(), &Here::default()).unwrap();
        let container = &inspected.containers[0];
        assert_eq!(inspected.engine.map(|engine| engine.as_str().to_owned()).as_deref(), Some("containerd"));
        assert_eq!(container.image_ref.as_deref(), Some("registry.example/orders@sha256:12"));
        assert_eq!(container.pod.as_ref().map(|pod| pod.name.as_str()), Some("orders-m01234567"));
        assert_eq!(pack(&directory, &file).unwrap(), (digest, bytes), "the same again");
    }

    #[test]
    fn a_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("d");
        fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink("/etc", directory.join("parent")).unwrap();
        assert_eq!(pack(&directory, &home.path().join("x")).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
