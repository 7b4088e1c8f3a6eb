//! What was packed comes out again, however it was packed.

mod common;

use std::fs::{self, File};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use common::{Home, archive, facts, walk};
use ms2m_core::Digest;
use ms2m_oci::{Compression, LayerKind, Layout, Limits, PackOptions, Placed, pack};
use proptest::prelude::*;

fn options(compression: Compression, copy: bool) -> PackOptions {
    PackOptions { compression, copy, ..PackOptions::default() }
}

/// Every way out of a layout yields the archive.
fn comes_out(home: &Home, tag: &str, expected: &[u8]) {
    let layout = home.open();
    let checkpoint = layout.checkpoint(Some(tag)).unwrap();
    let mut read = Vec::new();
    checkpoint.reader().unwrap().read_to_end(&mut read).unwrap();
    assert!(read == expected, "the reader yields the archive");
    for copy in [false, true] {
        let to = home.path().join(format!("out-{copy}"));
        let mut heard = 0;
        checkpoint.extract(&to, copy, &mut |bytes| go_on(&mut heard, bytes)).unwrap();
        assert_eq!(heard, expected.len() as u64, "progress is told to the end");
        assert!(fs::read(&to).unwrap() == expected, "the archive comes out");
        fs::remove_file(to).unwrap();
    }
}

fn go_on(heard: &mut u64, bytes: u64) -> ControlFlow<()> {
    assert!(*heard <= bytes, "progress never goes back");
    *heard = bytes;
    ControlFlow::Continue(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_in_any_way(seed in any::<u8>(), bytes in 0_usize..3_000_000, zstd in any::<bool>(), copy in any::<bool>(), hole in any::<bool>()) {
        let pages: Vec<u8> = (0..bytes).map(|at| if hole && at > bytes / 3 && at < bytes / 2 { 0 } else { seed.wrapping_mul(at as u8) }).collect();
        let expected = archive(&pages);
        let home = Home::new(&expected);
        let compression = if zstd { Compression::Zstd } else { Compression::None };
        let packed = home.pack(Some("a"), &options(compression, copy)).unwrap();
        prop_assert_eq!(packed.image.layer.diff_id, Digest::of(&expected));
        prop_assert_eq!(packed.archive_bytes, expected.len() as u64);
        comes_out(&home, "a", &expected);
    }
}

#[test]
fn the_layout_holds_what_the_specification_says_and_nothing_else() {
    let expected = archive(&[7; 100_000]);
    let home = Home::new(&expected);
    let packed = home.pack(None, &PackOptions::default()).unwrap();
    let hex = |digest: Digest| digest.to_string().replace("sha256:", "blobs/sha256/");
    let image = &packed.image;
    let blobs = [hex(image.layer.digest), hex(image.config.digest()), hex(image.manifest.digest())];
    let mut names: Vec<_> =
        ["blobs/", "blobs/sha256/", "index.json", "oci-layout"].map(String::from).into_iter().chain(blobs.clone()).collect();
    names.sort();
    assert_eq!(walk(&home.layout), names);
    assert_eq!(walk(home.path()).iter().filter(|name| name.starts_with('.')).count(), 0, "nothing is left beside it");
    // All of a process's memory: for its owner alone.
    assert_eq!(fs::metadata(&home.layout).unwrap().permissions().mode() & 0o077, 0);

    let tag = image.manifest.digest().to_string().replace(':', "-");
    assert_eq!((packed.tag.as_str(), packed.added), (tag.as_str(), true));
    let layout = home.open();
    assert_eq!(layout.tags().collect::<Vec<_>>(), [tag.as_str()]);
    let checkpoint = layout.checkpoint(None).unwrap();
    assert_eq!((checkpoint.digest(), checkpoint.layer()), (image.manifest.digest(), image.layer));
    assert_eq!(checkpoint.annotations()["org.criu.checkpoint.container.name"], "orders");
    let index = fs::read_to_string(home.layout.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    for place in [&index["annotations"], &index["manifests"][0]["annotations"]] {
        assert_eq!(place["org.criu.checkpoint.container.name"], "orders", "{index}");
        assert_eq!(place["io.kubernetes.cri-o.annotations.checkpoint.name"], "orders", "{index}");
    }
}

#[test]
fn the_archive_is_linked_unless_a_copy_is_asked_for() {
    let expected = archive(&[7; 100_000]);
    let home = Home::new(&expected);
    let inode = fs::metadata(&home.archive).unwrap().ino();
    let linked = home.pack(Some("linked"), &PackOptions::default()).unwrap();
    let blob = home.layout.join(linked.image.layer.digest.to_string().replace("sha256:", "blobs/sha256/"));
    let shares = |placed| match placed {
        Placed::HardLink => fs::metadata(&blob).unwrap().ino() == inode,
        Placed::Reflink => true,
        Placed::Copy | Placed::Compressed => false,
    };
    assert!(shares(linked.placed), "{:?}", linked.placed);
    let copied = home.pack(Some("copied"), &options(Compression::None, true)).unwrap();
    assert_eq!((copied.placed, &copied.image), (Placed::Copy, &linked.image), "the image is the same however it came to be");
    assert_ne!(fs::metadata(&blob).unwrap().ino(), inode);
    assert_eq!(fs::metadata(&blob).unwrap().permissions().mode() & 0o777, 0o600);
    // Another file system cannot be linked to.
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        let elsewhere = Home::within(memory, &expected);
        let name = ms2m_oci::LayoutName { directory: elsewhere.layout.clone(), tag: None };
        let packed = pack(&home.archive, &name, &facts(), &PackOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(packed.placed, Placed::Copy);
        comes_out(&elsewhere, packed.tag.as_str(), &expected);
    }
}

#[test]
fn holes_stay_holes() {
    let home = Home::new(&archive(&[1; 4096]));
    let end = fs::metadata(&home.archive).unwrap().len();
    let file = File::options().write(true).open(&home.archive).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&[2; 4096], 32 << 20).unwrap();
    let packed = home.pack(Some("a"), &options(Compression::None, true)).unwrap();
    let expected = fs::read(&home.archive).unwrap();
    assert_eq!(packed.image.layer.digest, Digest::of(&expected));
    let blob = home.layout.join(packed.image.layer.digest.to_string().replace("sha256:", "blobs/sha256/"));
    let blocks = fs::metadata(&blob).unwrap().blocks() * 512;
    assert!(blocks < 4 << 20, "{blocks} bytes are stored of {}, {end} of them the tar", 64 << 20);
    comes_out(&home, "a", &expected);
    let zstd = home.pack(Some("z"), &options(Compression::Zstd, false)).unwrap();
    assert_eq!((zstd.image.layer.kind, zstd.image.layer.diff_id), (LayerKind::Zstd, packed.image.layer.digest));
    assert!(zstd.image.layer.bytes < 1 << 20);
    comes_out(&home, "z", &expected);
}

#[test]
fn images_share_a_layout_and_equal_ones_their_blobs() {
    let first = archive(&[1; 10_000]);
    let mut home = Home::new(&first);
    let one = home.pack(Some("mig-1"), &PackOptions::default()).unwrap();
    let again = home.pack(Some("mig-1"), &PackOptions::default()).unwrap();
    assert_eq!((again.added, &again.image), (false, &one.image), "the same again changes nothing");
    let before = walk(&home.layout);
    let other_tag = home.pack(Some("mig-1b"), &PackOptions::default()).unwrap();
    assert!(other_tag.added);
    assert_eq!(walk(&home.layout), before, "a second tag takes no room");

    let second = archive(&[2; 10_000]);
    home.archive = home.path().join("second.tar");
    fs::write(&home.archive, &second).unwrap();
    let taken = home.pack(Some("mig-1"), &PackOptions::default()).unwrap_err();
    assert!(matches!(taken, ms2m_oci::OciError::Exists { .. }) && taken.to_string().contains("give another tag"), "{taken}");
    assert_eq!(walk(&home.layout), before, "a refusal leaves nothing");
    home.pack(Some("mig-2"), &PackOptions::default()).unwrap();
    assert_eq!(home.open().tags().collect::<Vec<_>>(), ["mig-1", "mig-1b", "mig-2"]);
    comes_out(&home, "mig-1", &first);
    comes_out(&home, "mig-2", &second);
    let several = home.open().checkpoint(None).unwrap_err();
    assert!(several.to_string().contains("mig-1, mig-1b, mig-2"), "{several}");
}

#[test]
fn what_other_tools_wrote_into_the_index_stays() {
    let home = Home::new(&archive(b"x"));
    home.pack(Some("a"), &PackOptions::default()).unwrap();
    let index = home.layout.join("index.json");
    let text = fs::read_to_string(&index).unwrap().replacen('{', r#"{"com.example.extension":[1],"#, 1);
    fs::write(&index, text.replace(r#""annotations":{"#, r#""annotations":{"com.example.note":"kept","#)).unwrap();
    home.pack(Some("b"), &PackOptions::default()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    assert_eq!((&value["com.example.extension"][0], &value["annotations"]["com.example.note"]), (&1.into(), &"kept".into()));
    assert_eq!(value["manifests"][0]["annotations"]["com.example.note"], "kept");
}

#[test]
fn a_tar_of_a_layout_is_one_too() {
    let expected = archive(&[5; 50_000]);
    for compression in [Compression::None, Compression::Zstd] {
        let home = Home::new(&expected);
        home.pack(Some("a"), &options(compression, false)).unwrap();
        let tar = home.path().join("layout.tar");
        let mut builder = tar::Builder::new(File::create(&tar).unwrap());
        builder.append_dir_all(".", &home.layout).unwrap();
        builder.finish().unwrap();
        let layout = Layout::open(&tar, &Limits::default()).unwrap();
        let (to, mut heard) = (home.path().join("out"), 0);
        layout.checkpoint(None).unwrap().extract(&to, false, &mut |bytes| go_on(&mut heard, bytes)).unwrap();
        assert!(fs::read(&to).unwrap() == expected && heard == expected.len() as u64);
    }
}
