//! Whether what has arrived can be restored here: asked before anything is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};

use super::bundle::io;
use crate::archive::Manifest;
use crate::criu::Version;
use crate::image::{FORMAT, INVENTORY, Images};
use crate::runtime::Flavor;

/// An inventory has some hundred bytes.
const INVENTORY_BYTES_MAX: u64 = 64 << 10;

/// What there is at the target.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) flavor: Flavor,
    pub(crate) criu: &'a Version,
    /// As in [`Manifest::architecture`].
    pub(crate) architecture: &'a str,
    /// By the names of `/proc/cpuinfo`, in order.
    pub(crate) cpu_features: &'a [String],
}

/// Compares a checkpoint with the machine and with the containers that are to be made of it.
///
/// # Errors
/// [`ErrorKind::Unsupported`], with what is missing and what to do about it.
pub(crate) fn manifest(manifest: &Manifest, machine: &Machine<'_>, names: &[&str]) -> Result<()> {
    let refuse = |message: String| Err(Error::fatal(ErrorKind::Unsupported, message));
    let runtime = manifest.runtime.as_ref().map(|runtime| runtime.name.as_str());
    if runtime != Some(machine.flavor.to_string().as_str()) {
        let was = runtime.unwrap_or("no runtime");
        return refuse(format!("the checkpoint was taken of a container of {was}, and this target restores with {}", machine.flavor));
    }
    match Version::parse(&manifest.criu_version) {
        None => {
            return refuse(format!("the checkpoint was taken by an unknown CRIU, `{}`", crate::archive::printable(&manifest.criu_version)));
        }
        // It would leave out what it does not know.
        Some(theirs) if (theirs.major, theirs.minor) > (machine.criu.major, machine.criu.minor) => {
            let here = machine.criu;
            return refuse(format!("the checkpoint was taken by CRIU {theirs}, and here is {here}: install CRIU {theirs} or a later one"));
        }
        Some(_) => {}
    }
    if manifest.architecture != machine.architecture {
        return refuse(format!("the checkpoint is of a {} machine, and this one is {}", manifest.architecture, machine.architecture));
    }
    let here = machine.cpu_features;
    let missing: Vec<_> = manifest.cpu_features.iter().filter(|feature| here.binary_search(feature).is_err()).map(String::as_str).collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        return refuse(format!("this machine's processor lacks what the source's has: {missing}; restore on one that has it"));
    }
    for name in names {
        if !manifest.containers.iter().any(|container| container.name == *name) {
            return refuse(format!("the checkpoint holds no container `{name}`"));
        }
    }
    Ok(())
}

/// Looks at the inventory of CRIU's images, which tells the format of all others.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another format; when there is no inventory or it cannot be read.
pub(crate) fn images(directory: &Path) -> Result<()> {
    let path = directory.join(INVENTORY);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(INVENTORY_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(io("the inventory of the images", &path))?;
    let inventory = Images::decode(&BTreeMap::from([(INVENTORY.to_owned(), bytes)]))?.inventory;
    match inventory.map(|inventory| inventory.version) {
        Some(FORMAT) => Ok(()),
        version => {
            let message =
                format!("CRIU's images are of format {}, which is not known: use the ms2m that took them", version.unwrap_or_default());
            Err(Error::fatal(ErrorKind::Unsupported, message).with("image", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ContainerManifest, RuntimeFact};

    fn taken() -> Manifest {
        Manifest {
            runtime: Some(RuntimeFact { name: "runc".into(), version: "1.3.6".into() }),
            criu_version: "4.2.1".into(),
            cpu_features: vec!["avx".into(), "sse2".into()],
            architecture: "x86_64".into(),
            ..Manifest::new(vec![ContainerManifest { name: "main".into(), id: "1".into(), ..ContainerManifest::default() }])
        }
    }

    fn judge(checkpoint: &Manifest, criu: &str) -> Result<(), String> {
        let (criu, features) = (Version::parse(criu).unwrap(), ["avx", "sse2", "ssse3"].map(str::to_owned));
        let machine = Machine { flavor: Flavor::Runc, criu: &criu, architecture: "x86_64", cpu_features: &features };
        manifest(checkpoint, &machine, &["main"]).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            error.to_string()
        })
    }

    #[test]
    fn what_fits_is_taken() {
        for criu in ["4.2", "4.2.1", "4.3", "5.0"] {
            judge(&taken(), criu).unwrap();
        }
    }

    #[test]
    fn each_lack_is_named() {
        type Change = fn(&mut Manifest);
        let cases: [(Change, &str); 8] = [
            (|taken| taken.runtime = None, "no runtime"),
            (|taken| taken.runtime.as_mut().unwrap().name = "crun".into(), "of crun"),
            (|taken| taken.criu_version = String::new(), "unknown CRIU"),
            (|taken| taken.criu_version = "next\u{1b}".into(), "unknown CRIU"),
            (|taken| taken.criu_version = "4.3".into(), "install CRIU 4.3"),
            (|taken| taken.architecture = "aarch64".into(), "aarch64"),
            (|taken| taken.cpu_features.push("avx512f".into()), "lacks what the source's has: avx512f"),
            (|taken| taken.containers[0].name = "other".into(), "no container `main`"),
        ];
        for (change, says) in cases {
            let mut checkpoint = taken();
            change(&mut checkpoint);
            let error = judge(&checkpoint, "4.2.1").unwrap_err();
            assert!(error.contains(says) && !error.contains('\u{1b}'), "{error}");
        }
        assert!(judge(&taken(), "4.1.1").unwrap_err().contains("here is 4.1.1: install CRIU 4.2.1"));
    }

    #[test]
    fn images_of_another_format_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(INVENTORY);
        let write = |bytes: &[u8]| std::fs::write(&file, bytes).unwrap();
        assert!(images(directory.path()).unwrap_err().to_string().contains("inventory"));
        write(&[0x16, 0x31, 0x31, 0x58, 2, 0, 0, 0, 0x08, 2]);
        images(directory.path()).unwrap();
        write(&[0x16, 0x31, 0x31, 0x58, 2, 0, 0, 0, 0x08, 3]);
        assert_eq!(images(directory.path()).unwrap_err().kind(), ErrorKind::Unsupported);
        write(b"no image");
        assert_eq!(images(directory.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
