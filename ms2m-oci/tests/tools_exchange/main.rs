//! What we write, the tools of containers read, and the other way round. As root.

#[path = "../common/mod.rs"]
mod common;
mod containerd;
mod tool;

use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use common::{Home, archive};
use containerd::Containerd;
use ms2m_core::Digest;
use ms2m_oci::{Compression, LayerKind, Layout, Limits, PackOptions};
use tool::{buildah, skopeo, umoci};

const CONTAINER: &str = "org.criu.checkpoint.container.name";

/// A layout with one image, `mig-1`.
struct Packed {
    home: Home,
    archive: Vec<u8>,
    manifest: Digest,
    name: String,
}

fn packed(compression: Compression) -> Packed {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let archive = archive(&bytes);
    let home = Home::new(&archive);
    let packed = home.pack(Some("mig-1"), &PackOptions { compression, ..PackOptions::default() }).unwrap();
    let name = format!("oci:{}:mig-1", home.layout.display());
    Packed { home, archive, manifest: packed.image.manifest.digest(), name }
}

impl Packed {
    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// The layout that a tool has written holds the checkpoint, and says so.
    fn is_in(&self, layout: impl AsRef<Path>, kind: LayerKind) -> Digest {
        let layout = Layout::open(layout.as_ref(), &Limits::default()).unwrap();
        let checkpoint = layout.checkpoint(None).unwrap();
        assert_eq!(checkpoint.annotations()[CONTAINER], "orders");
        assert_eq!(checkpoint.layer().kind, kind);
        assert_eq!(checkpoint.layer().diff_id, Digest::of(&self.archive));
        let to = self.home.path().join("back.tar");
        checkpoint.extract(&to, false, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(fs::read(&to).unwrap() == self.archive, "the archive is the same to the byte");
        fs::remove_file(to).unwrap();
        checkpoint.digest()
    }
}

#[test]
fn skopeo_takes_it_and_gives_it_back() {
    for (compression, kind) in [(Compression::None, LayerKind::Tar), (Compression::Zstd, LayerKind::Zstd)] {
        let packed = packed(compression);
        let inspected: serde_json::Value = serde_json::from_str(&skopeo(&["inspect", &packed.name])).unwrap();
        assert_eq!(inspected["Digest"], packed.manifest.to_string());
        let manifest: serde_json::Value = serde_json::from_str(&skopeo(&["inspect", "--raw", &packed.name])).unwrap();
        assert_eq!(manifest["annotations"]["io.kubernetes.cri-o.annotations.checkpoint.name"], "orders");

        let copy = packed.path("copy");
        skopeo(&["copy", "--dest-oci-accept-uncompressed-layers", &packed.name, &format!("oci:{copy}:again")]);
        assert_eq!(packed.is_in(&copy, kind), packed.manifest, "skopeo had nothing to change");
        let tar = packed.path("copy.tar");
        skopeo(&["copy", "--dest-oci-accept-uncompressed-layers", &packed.name, &format!("oci-archive:{tar}:again")]);
        assert_eq!(packed.is_in(&tar, kind), packed.manifest);
    }
}

#[test]
fn skopeo_compresses_it_on_the_way() {
    let packed = packed(Compression::None);
    let copy = packed.path("copy");
    skopeo(&["copy", &packed.name, &format!("oci:{copy}:again")]);
    packed.is_in(&copy, LayerKind::Gzip);
}

#[test]
fn umoci_unpacks_it() {
    let packed = packed(Compression::None);
    let image = packed.name.trim_start_matches("oci:");
    umoci(&["stat", "--image", image]);
    let bundle = packed.path("bundle");
    umoci(&["unpack", "--image", image, &bundle]);
    let pages = fs::read(format!("{bundle}/rootfs/checkpoint/pages-1.img")).unwrap();
    assert_eq!(pages.len(), 3_000_000);
    // umoci adds to the layout, and ours stays readable.
    umoci(&["tag", "--image", image, "mig-1b"]);
    let layout = packed.home.open();
    assert_eq!(layout.checkpoint(Some("mig-1b")).unwrap().digest(), packed.manifest);
    assert!(!packed.home.pack(Some("mig-1b"), &PackOptions::default()).unwrap().added);
}

#[test]
fn what_umoci_makes_of_an_archive_is_read() {
    let packed = packed(Compression::None);
    let layout = packed.path("umoci");
    let (image, archive) = (format!("{layout}:made"), packed.home.archive.display().to_string());
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    umoci(&["raw", "add-layer", "--image", &image, &archive]);
    umoci(&["config", "--image", &image, &format!("--manifest.annotation={CONTAINER}=orders")]);
    packed.is_in(&layout, LayerKind::Gzip);
    // One of ours beside it.
    let name = format!("oci:{layout}:ours").parse().unwrap();
    ms2m_oci::pack(&packed.home.archive, &name, &common::facts(), &PackOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    umoci(&["stat", "--image", &image]);
    umoci(&["stat", "--image", &format!("{layout}:ours")]);
}

#[test]
fn buildah_pulls_it_and_pushes_it() {
    for compression in [Compression::None, Compression::Zstd] {
        let packed = packed(compression);
        let storage = packed.home.path().join("storage");
        let id = buildah(&storage, &["pull", "--quiet", "oci:layout:mig-1"]);
        let out = packed.path("out");
        buildah(&storage, &["push", "--quiet", id.trim(), &format!("oci:{out}:pushed")]);
        packed.is_in(&out, LayerKind::Gzip);
        let container = buildah(&storage, &["from", id.trim()]);
        let mount = buildah(&storage, &["mount", container.trim()]);
        assert_eq!(fs::metadata(format!("{}/checkpoint/pages-1.img", mount.trim())).unwrap().len(), 3_000_000);
        buildah(&storage, &["umount", container.trim()]);
    }
}

/// The way in which users of CRI-O and containerd make such images by hand.
#[test]
fn what_buildah_makes_of_an_archive_is_read() {
    let packed = packed(Compression::None);
    let storage = packed.home.path().join("storage");
    let archive = packed.home.archive.display().to_string();
    let container = buildah(&storage, &["from", "scratch"]);
    buildah(&storage, &["add", container.trim(), &archive, "/"]);
    buildah(&storage, &["config", &format!("--annotation={CONTAINER}=orders"), container.trim()]);
    let out = packed.path("out");
    buildah(&storage, &["commit", "--quiet", container.trim(), &format!("oci:{out}:made")]);
    let layout = Layout::open(Path::new(&out), &Limits::default()).unwrap();
    let checkpoint = layout.checkpoint(Some("made")).unwrap();
    let mut tar = Vec::new();
    checkpoint.reader().unwrap().read_to_end(&mut tar).unwrap();
    let mut members = tar::Archive::new(&tar[..]);
    let names: Vec<_> = members.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert!(names.iter().any(|name| name == "checkpoint/pages-1.img"), "{names:?}");
}

#[test]
fn containerd_imports_it_and_exports_it() {
    for (compression, kind) in [(Compression::None, LayerKind::Tar), (Compression::Zstd, LayerKind::Zstd)] {
        let packed = packed(compression);
        let tar = packed.path("layout.tar");
        let mut builder = tar::Builder::new(fs::File::create(&tar).unwrap());
        builder.append_dir_all(".", &packed.home.layout).unwrap();
        builder.finish().unwrap();
        let containerd = Containerd::start(&packed.home.path().join("containerd"));
        containerd.ctr(&["images", "import", "--no-unpack", "--base-name", "localhost/checkpoint", &tar]);
        let image = "localhost/checkpoint:mig-1";
        let listed = containerd.ctr(&["images", "list"]);
        let line = listed.lines().find(|line| line.starts_with(image)).unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains(&packed.manifest.to_string()), "{line}");
        // What its CRI plugin looks at to know a checkpoint.
        let target: serde_json::Value = serde_json::from_str(&containerd.ctr(&["content", "get", &packed.manifest.to_string()])).unwrap();
        assert_eq!(target["annotations"][CONTAINER], "orders");
        let out = packed.path("exported.tar");
        containerd.ctr(&["images", "export", &out, image]);
        assert_eq!(packed.is_in(&out, kind), packed.manifest);
    }
}
