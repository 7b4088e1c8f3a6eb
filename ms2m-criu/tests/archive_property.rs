//! Any bytes, any tar, any damage: an answer, never a panic, and nothing left of what was refused.
//!
//! `MS2M_FUZZ_CASES=350000 cargo test --release -p ms2m-criu --test archive_property` makes more than 10^6 cases of it.

mod common;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use common::{Tar, fixture, header, listing};
use ms2m_criu::archive::{Expect, Limits, OpenInput, Reader, extract};
use ms2m_criu::image::{Images, is_wanted};
use ms2m_criu::inspect::{Here, inspect};
use proptest::prelude::*;
use tar::EntryType;

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("MS2M_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

fn limits() -> Limits {
    Limits { members: 40, member_bytes: 1 << 16, total_bytes: 1 << 18, ..Limits::default() }
}

/// Reads to the end or to a refusal; how many members came.
fn walk(bytes: &[u8]) -> Result<usize, String> {
    let OpenInput { input, .. } = OpenInput::new(std::io::Cursor::new(bytes.to_vec()), &limits()).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(input, limits());
    let mut members = 0;
    loop {
        match reader.next_member() {
            Ok(Some(member)) => {
                assert!(!member.name.starts_with('/') && member.name.split('/').all(|part| part != ".."), "{member:?}");
                members += 1;
                if members % 2 == 0 && reader.read_document().is_err() {
                    return Err("content".into());
                }
            }
            Ok(None) => return Ok(members),
            Err(error) => {
                assert!(error.rule().is_some(), "{error:?}");
                return Err(error.to_string());
            }
        }
    }
}

prop_compose! {
    /// A member with any of the names, kinds and lies that archives come with.
    fn member()(
        name in prop_oneof![
            6 => prop::sample::select(vec!["checkpoint/", "checkpoint/a", "checkpoint/a/b", "spec.dump", "config.dump", "manifest.json", "./x", "containers/a/b"]).prop_map(str::to_owned),
            2 => prop::sample::select(vec!["/a", "../a", "a/../b", "a//b", ".", "", "a/", "\u{7f}", "GNUSparseFile.0/a"]).prop_map(str::to_owned),
            1 => "[a-z./]{0,20}",
        ],
        kind in prop_oneof![8 => Just(b'0'), 3 => Just(b'5'), 1 => Just(b'x'), 1 => Just(b'L'), 1 => any::<u8>()],
        content in prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..700),
            1 => Just(b"{}".to_vec()),
            1 => Just(b"12 path=a/b\n".to_vec()),
            1 => Just(b"11 size=99\n".to_vec()),
            1 => Just(br#"{"format":1,"engine":"ms2m","criu_version":"","architecture":"","kernel":"","containers":[{"name":"a","id":""}]}"#.to_vec()),
        ],
        size_lie in prop_oneof![12 => Just(None), 1 => any::<u64>().prop_map(Some)],
    ) -> (String, u8, Vec<u8>, Option<u64>) {
        (name, kind, content, size_lie)
    }
}

fn build(members: &[(String, u8, Vec<u8>, Option<u64>)]) -> Vec<u8> {
    members
        .iter()
        .fold(Tar::default(), |tar, (name, kind, content, lie)| {
            let content = if *kind == b'5' { &[][..] } else { content };
            tar.raw(&header(name, EntryType::new(*kind), lie.unwrap_or(content.len() as u64)), content)
        })
        .end()
}

/// What is done to an archive on its way.
fn damage(mut archive: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (at, byte) in changes {
        if !archive.is_empty() {
            let at = at.index(archive.len());
            archive[at] = *byte;
        }
    }
    if let Some(cut) = cut {
        archive.truncate(cut.index(archive.len() + 1));
    }
    archive
}

static IMAGES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let plain = fixture("podman.tar.gz");
    let mut reader = Reader::new(plain.as_slice(), Limits::default());
    let mut images = BTreeMap::new();
    while let Some(member) = reader.next_member().unwrap() {
        let base = member.name.rsplit('/').next().unwrap().to_owned();
        if is_wanted(&base) {
            images.insert(base, reader.read_document().unwrap());
        }
    }
    images
});

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn generated_tars_get_an_answer(
        members in prop::collection::vec(member(), 0..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
    ) {
        let _ = walk(&damage(build(&members), &changes, cut));
    }

    #[test]
    fn any_bytes_get_an_answer(
        magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"ustar"]),
        bytes in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let _ = walk(&[magic, &bytes].concat());
    }

    #[test]
    fn damaged_images_get_an_answer(
        name in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
    ) {
        let mut images = IMAGES.clone();
        let name = images.keys().nth(name.index(images.len())).unwrap().clone();
        let image = images.remove(&name).unwrap();
        images.insert(name, damage(image, &changes, cut));
        let _ = Images::decode(&images);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150).cases.min(20_000), ..cases(150) })]

    #[test]
    fn a_refused_archive_leaves_nothing(
        members in prop::collection::vec(member(), 0..8),
        known in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let mut bytes = build(&members);
        if known {
            bytes = [Tar::containerd().0, bytes].concat();
        }
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("archive");
        std::fs::write(&file, damage(bytes, &changes, None)).unwrap();
        let result = extract(&file, &home.path().join("target"), &limits(), Expect::Any);
        let left = listing(home.path());
        prop_assert_eq!(left.len(), if result.is_ok() { 2 } else { 1 }, "{:?}", left);
        let _ = inspect(&file, &limits(), &Here::default()).map(|found| found.to_string());
    }
}
