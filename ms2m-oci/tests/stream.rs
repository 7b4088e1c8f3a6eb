//! An image that goes through a pipe.

mod common;

use std::fs;
use std::ops::ControlFlow;

use common::{Home, archive, facts};
use ms2m_core::Digest;
use ms2m_oci::{Image, Layer, LayerKind, Layout, Limits, Rule, Tag, stream};

#[test]
fn what_is_streamed_is_the_layout_that_is_packed() {
    let archive = archive(&[7; 600_000]);
    let home = Home::new(&archive);
    let digest = Digest::of(&archive);
    let layer = Layer { kind: LayerKind::Tar, digest, bytes: archive.len() as u64, diff_id: digest };
    let image = Image::new(layer, &facts());
    let tag = Tag::new("mig-1").unwrap();
    let mut tar = Vec::new();
    let bytes = stream(&image, &facts(), &tag, &archive[..], &mut tar).unwrap();
    assert_eq!(bytes, tar.len() as u64);
    let path = home.path().join("layout.tar");
    fs::write(&path, tar).unwrap();

    let packed = home.pack(Some("mig-1"), &Default::default()).unwrap();
    let layout = Layout::open(&path, &Limits::default()).unwrap();
    let checkpoint = layout.checkpoint(Some("mig-1")).unwrap();
    assert_eq!(checkpoint.digest(), packed.image.manifest.digest());
    let back = home.path().join("back.tar");
    checkpoint.extract(&back, false, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(fs::read(back).unwrap() == archive);

    for wrong in [&archive[1..], &[&archive[..], b"x"].concat()] {
        let error = stream(&image, &facts(), &tag, wrong, &mut Vec::new()).unwrap_err();
        assert_eq!(error.rule(), Some(Rule::Size), "{error}");
    }
}
