//! What CRIU wrote, with one image replaced by any bytes or changed in places: decoded or refused.
//!
//! The first byte says which image; the second whether the rest replaces it or is a list of changes (offset in two bytes, value).
#![no_main]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ms2m_criu::archive::{Limits, Reader};
use ms2m_criu::image::{Images, is_wanted};

static WRITTEN: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut plain = Vec::new();
    let fixture = include_bytes!("../../ms2m-criu/tests/fixtures/podman.tar.gz");
    flate2::read::GzDecoder::new(&fixture[..]).read_to_end(&mut plain).expect("a fixture");
    let mut reader = Reader::new(plain.as_slice(), Limits::default());
    let mut images = BTreeMap::new();
    while let Some(member) = reader.next_member().expect("a fixture") {
        let name = member.name.rsplit('/').next().unwrap_or_default().to_owned();
        if is_wanted(&name) {
            images.insert(name, reader.read_document().expect("a fixture"));
        }
    }
    images
});

fuzz_target!(|bytes: &[u8]| {
    let [which, how, rest @ ..] = bytes else { return };
    let mut images = WRITTEN.clone();
    let at = usize::from(*which) % images.len();
    let Some(image) = images.values_mut().nth(at) else { return };
    if how % 2 == 0 {
        *image = rest.to_vec();
    } else {
        for change in rest.chunks_exact(3) {
            let offset = usize::from(u16::from_le_bytes([change[0], change[1]])) % image.len().max(1);
            if let Some(byte) = image.get_mut(offset) {
                *byte = change[2];
            }
        }
    }
    let _ = Images::decode(&images);
});
