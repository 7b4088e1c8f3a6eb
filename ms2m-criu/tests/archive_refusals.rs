//! Every rule of an archive, and an archive that breaks it: refused by name, and nothing left behind.

mod common;

use std::io::Write as _;
use std::time::{Duration, Instant};

use common::{Tar, fixture, fixtures, header, listing};
use ms2m_criu::archive::{ArchiveError, ContainerManifest, Engine, Expect, Input, Limits, Manifest, Reader, Rule, extract};
use tar::{EntryType, Header};

fn small() -> Limits {
    Limits { members: 50, member_bytes: 100_000, total_bytes: 150_000, document_bytes: 10_000, trailing_bytes: 20_000, ..Limits::default() }
}

/// Extracts `archive`, and shows that a refusal leaves neither the directory nor anything beside it.
fn try_extract(archive: &[u8], limits: &Limits, expect: Expect) -> Result<u64, ArchiveError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    std::fs::write(&file, archive).unwrap();
    let target = directory.path().join("target");
    let result = extract(&file, &target, limits, expect);
    let left: &[&str] = if result.is_ok() { &["archive", "target"] } else { &["archive"] };
    assert_eq!(listing(directory.path()), left);
    result.map(|extracted| extracted.files)
}

fn own(manifest: &Manifest) -> Tar {
    Tar::default().file("manifest.json", &serde_json::to_vec(manifest).unwrap())
}

fn manifest() -> Manifest {
    Manifest::new(vec![ContainerManifest { name: "main".into(), id: "1".into(), ..Default::default() }])
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn with_bytes(at: usize, bytes: &[u8]) -> Header {
    let mut changed = header("checkpoint/a", EntryType::Regular, 3);
    changed.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
    changed.set_cksum();
    changed
}

#[test]
fn every_rule_has_an_archive_that_breaks_it() {
    let base = Tar::containerd;
    let good = base().end();
    let long = "x/".repeat(45) + "y";
    let numbered = (0..60).fold(base(), |tar, number| tar.file(&format!("checkpoint/{number}"), b""));
    let mut bad_sum = base().end();
    bad_sum[0] ^= 1;
    let mut garbage = good.clone();
    garbage.extend([0; 512]);
    garbage.extend(b"more");
    let zeros = |count: usize| [good.as_slice(), &vec![0; count]].concat();
    let spec = |json: &str| Tar::default().directory("checkpoint/").file("config.dump", b"{}").file("spec.dump", json.as_bytes()).end();
    let manifest_only = |json: &[u8]| Tar::default().file("manifest.json", json).end();
    let mut other_format = manifest();
    other_format.format = 9;
    let mut with_parent = manifest();
    with_parent.containers[0].parents = vec![ms2m_criu::archive::ParentLink { directory: "pre-2".into(), parent: "pre-1".into() }];
    let images = |tar: Tar| tar.file("containers/main/checkpoint/inventory.img", b"x");
    let compressed = zstd::encode_all(good.as_slice(), 1).unwrap();

    let cases: Vec<(&str, Rule, Vec<u8>)> = vec![
        ("empty", Rule::Complete, vec![]),
        ("no tar", Rule::WellFormed, vec![7; 2048]),
        ("text", Rule::WellFormed, b"hello ".repeat(200)),
        ("checksum", Rule::WellFormed, bad_sum),
        ("size is no number", Rule::WellFormed, base().raw(&with_bytes(124, b"zzzzzzzzzzz"), b"abc").end()),
        ("size is negative", Rule::MemberSize, base().raw(&with_bytes(124, &[0xff; 12]), b"abc").end()),
        ("directory with content", Rule::WellFormed, base().member("checkpoint/d/", EntryType::Directory, b"abc").end()),
        ("block between members", Rule::WellFormed, {
            let mut tar = base();
            tar.0.extend([0; 512]);
            tar.file("checkpoint/a", b"").end()
        }),
        ("symbolic link", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Symlink, b"").end()),
        ("hard link", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Link, b"").end()),
        ("character device", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Char, b"").end()),
        ("block device", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Block, b"").end()),
        ("fifo", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Fifo, b"").end()),
        ("contiguous", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::Continuous, b"").end()),
        ("global header", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::XGlobalHeader, b"").end()),
        ("long link", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::GNULongLink, b"a").end()),
        ("unknown kind", Rule::FilesAndDirectories, base().member("checkpoint/a", EntryType::new(b'Z'), b"").end()),
        ("absolute", Rule::PlainNames, base().file("/etc/passwd", b"").end()),
        ("up", Rule::PlainNames, base().file("checkpoint/../../a", b"").end()),
        ("up by pax", Rule::PlainNames, base().pax(&[("path", "../a")]).file("checkpoint/a", b"").end()),
        ("up by a long name", Rule::PlainNames, base().member("l", EntryType::GNULongName, b"../../a\0").file("checkpoint/a", b"").end()),
        ("control characters", Rule::PlainNames, base().file("checkpoint/\u{1b}[2J", b"").end()),
        ("file with a directory's name", Rule::PlainNames, base().file("checkpoint/a/", b"").end()),
        ("deep", Rule::NameLength, base().file(&long, b"").end()),
        ("long", Rule::NameLength, base().pax(&[("path", &"y".repeat(600))]).file("checkpoint/a", b"").end()),
        ("long component", Rule::NameLength, base().pax(&[("path", &"y".repeat(300))]).file("checkpoint/a", b"").end()),
        ("huge extension", Rule::NameLength, base().member("l", EntryType::GNULongName, &[b'a'; 70_000]).file("checkpoint/a", b"").end()),
        ("twice", Rule::NoDuplicates, base().file("spec.dump", b"{}").end()),
        ("twice, spelled otherwise", Rule::NoDuplicates, base().file("./spec.dump", b"{}").end()),
        ("file below a file", Rule::NoDuplicates, base().file("spec.dump/a", b"").end()),
        ("many members", Rule::MemberCount, numbered.end()),
        ("large member", Rule::MemberSize, base().file("checkpoint/a", &[0; 100_001]).end()),
        ("large by pax", Rule::MemberSize, base().pax(&[("size", "18446744073709551615")]).file("checkpoint/a", b"").end()),
        ("large document", Rule::MemberSize, Tar::default().file("config.dump", &[b' '; 10_001]).end()),
        ("large sum", Rule::TotalSize, base().file("checkpoint/a", &[0; 99_000]).file("checkpoint/b", &[0; 99_000]).end()),
        ("sparse", Rule::NoSparse, base().member("checkpoint/a", EntryType::GNUSparse, b"").end()),
        ("sparse by pax", Rule::NoSparse, base().pax(&[("GNU.sparse.major", "1")]).file("checkpoint/a", b"").end()),
        ("pax twice", Rule::WellFormed, base().pax(&[("path", "a")]).pax(&[("path", "b")]).file("checkpoint/a", b"").end()),
        ("pax size is no number", Rule::WellFormed, base().pax(&[("size", "+5")]).file("checkpoint/a", b"").end()),
        ("pax is malformed", Rule::WellFormed, base().member("p", EntryType::XHeader, b"99 a=b\n").file("checkpoint/a", b"").end()),
        (
            "pax hides a record",
            Rule::WellFormed,
            base().member("p", EntryType::XHeader, b"6 a=b\n\n12 path=..x\n").file("checkpoint/a", b"").end(),
        ),
        ("ends behind an extension", Rule::Complete, base().pax(&[("path", "a")]).end()),
        ("no end", Rule::Complete, base().0),
        ("half an end", Rule::Complete, {
            let mut tar = base().0;
            tar.extend([0; 512]);
            tar
        }),
        ("cut in a member", Rule::Complete, base().file("checkpoint/a", &[1; 5000]).0[..4500].to_vec()),
        ("no images", Rule::Complete, Tar::default().file("config.dump", b"{}").file("spec.dump", b"{}").end()),
        ("something behind", Rule::NothingBehind, garbage),
        ("many zeros behind", Rule::NothingBehind, zeros(20_480)),
        ("xz", Rule::Compression, b"\xfd7zXZ\0 and so on".to_vec()),
        ("damaged gzip", Rule::Compression, {
            let mut data = gzip(&good);
            let at = data.len() - 6;
            data[at] ^= 0xff;
            data
        }),
        ("damaged zstd", Rule::Compression, {
            let mut data = compressed.clone();
            data[6] ^= 0xff;
            data
        }),
        ("behind zstd", Rule::Compression, [compressed.as_slice(), b"garbage"].concat()),
        ("cut zstd", Rule::Complete, compressed[..compressed.len() - 1].to_vec()),
        ("cut gzip", Rule::Complete, {
            let data = gzip(&good);
            data[..data.len() - 9].to_vec()
        }),
        ("no tar in gzip", Rule::WellFormed, gzip(&[7; 2048])),
        ("no engine", Rule::KnownEngine, Tar::default().directory("checkpoint").end()),
        ("nothing in it", Rule::KnownEngine, Tar::default().end()),
        ("unknown engine", Rule::KnownEngine, spec(r#"{"annotations":{"io.container.manager":"docker"}}"#)),
        ("malformed specification", Rule::KnownEngine, spec("{")),
        ("manifest of others", Rule::KnownEngine, manifest_only(br#"{"format":1,"engine":"x"}"#)),
        ("manifest of another format", Rule::OwnFormat, manifest_only(&serde_json::to_vec(&other_format).unwrap())),
        ("manifest is malformed", Rule::OwnFormat, manifest_only(b"[")),
        ("not in the manifest", Rule::OwnFormat, images(own(&manifest())).file("containers/other/a", b"").end()),
        ("beside the containers", Rule::OwnFormat, images(own(&manifest())).file("extra", b"").end()),
        ("container without images", Rule::Complete, own(&manifest()).file("containers/main/spec.json", b"{}").end()),
        ("incremental images are missing", Rule::Complete, images(own(&with_parent)).end()),
    ];
    let mut met: Vec<Rule> = vec![];
    for (what, rule, archive) in &cases {
        let error = try_extract(archive, &small(), Expect::Any).expect_err(what);
        assert_eq!(error.rule(), Some(*rule), "{what}: {error}");
        assert!(error.to_string().contains(rule.as_str()), "{what}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{what}");
        met.push(*rule);
    }
    // The ratio needs an archive of some size, and the count its own test; every other rule is above.
    for rule in [
        Rule::WellFormed,
        Rule::FilesAndDirectories,
        Rule::PlainNames,
        Rule::NameLength,
        Rule::NoDuplicates,
        Rule::MemberCount,
        Rule::MemberSize,
        Rule::TotalSize,
        Rule::NoSparse,
        Rule::Complete,
        Rule::NothingBehind,
        Rule::Compression,
        Rule::KnownEngine,
        Rule::OwnFormat,
    ] {
        assert!(met.contains(&rule), "{rule}");
    }
    try_extract(&good, &small(), Expect::Any).unwrap();
    try_extract(&zeros(9_216), &small(), Expect::Any).unwrap();
    try_extract(&images(own(&manifest())).end(), &small(), Expect::Only(Engine::Ms2m)).unwrap();
}

#[test]
fn another_engine_than_the_expected_one_is_refused() {
    let archive = fixture("containerd.tar.gz");
    for engine in [Engine::CriO, Engine::Podman, Engine::Ms2m] {
        let rule = try_extract(&archive, &Limits::default(), Expect::Only(engine)).unwrap_err().rule();
        assert!(matches!(rule, Some(Rule::KnownEngine | Rule::OwnFormat)), "{engine}");
    }
    try_extract(&archive, &Limits::default(), Expect::Only(Engine::Containerd)).unwrap();
}

/// Headers without end, made when they are asked for.
struct Headers(u32);

impl std::io::Read for Headers {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0 += 1;
        buf[..512].copy_from_slice(header(&format!("checkpoint/{}", self.0), EntryType::Regular, 0).as_bytes());
        Ok(512)
    }
}

struct Endless(std::io::BufReader<Headers>);

impl std::io::Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl std::io::BufRead for Endless {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Input for Endless {}

#[test]
fn too_many_members_are_refused_early_whatever_else_comes() {
    let count = |limits: Limits| {
        let begin = Instant::now();
        let mut reader = Reader::new(Endless(std::io::BufReader::new(Headers(0))), limits);
        let mut taken = 0;
        let error = loop {
            match reader.next_member() {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.rule(), Some(Rule::MemberCount));
        (taken, begin.elapsed())
    };
    let (taken, time) = count(Limits::default());
    assert_eq!(taken, 65_536);
    assert!(time < Duration::from_secs(10), "{time:?}");
    let archive = (0..60).fold(Tar::containerd(), |tar, number| tar.file(&format!("checkpoint/{number}"), b"")).end();
    assert_eq!(try_extract(&archive, &small(), Expect::Any).unwrap_err().rule(), Some(Rule::MemberCount));
}

/// `cargo test --release -- --ignored`: a limit of 10^6, and an archive that goes on.
#[test]
#[ignore = "takes seconds; for figures"]
fn a_million_members() {
    let begin = Instant::now();
    let mut reader = Reader::new(Endless(std::io::BufReader::new(Headers(0))), Limits { members: 1_000_000, ..Limits::default() });
    while reader.next_member().is_ok() {}
    println!("10^6 members: {:?}", begin.elapsed());
}

#[test]
fn bombs_are_refused_before_they_fill_anything() {
    let limits = Limits { ratio_free_bytes: 1 << 20, ..Limits::default() };
    let plain = Tar::containerd().file("checkpoint/pages-1.img", &vec![0; 64 << 20]).end();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    assert!(zstd.len() * 1_000 < plain.len());
    assert_eq!(try_extract(&zstd, &limits, Expect::Any).unwrap_err().rule(), Some(Rule::CompressionRatio));
    try_extract(&zstd, &Limits { ratio: 1 << 20, ..limits }, Expect::Any).unwrap();
    // A window beyond the limit would have to be held in memory.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&plain).unwrap();
    let wide = encoder.finish().unwrap();
    assert_eq!(try_extract(&wide, &Limits::default(), Expect::Any).unwrap_err().rule(), Some(Rule::Compression));
    // What an archive announces is not believed.
    let announced = Tar::containerd().raw(&header("checkpoint/a", EntryType::Regular, 200 << 30), b"abc").end();
    assert_eq!(try_extract(&announced, &Limits::default(), Expect::Any).unwrap_err().rule(), Some(Rule::Complete));
}

#[test]
fn an_archive_cut_at_any_byte_is_refused() {
    let whole = Tar::containerd().file("checkpoint/pages-1.img", &[7; 700]).end();
    let directory = tempfile::tempdir().unwrap();
    let (file, target) = (directory.path().join("archive"), directory.path().join("target"));
    for length in 0..whole.len() {
        let mut reader = Reader::new(&whole[..length], Limits::default());
        let error = std::iter::from_fn(|| reader.next_member().transpose()).find_map(Result::err).unwrap();
        assert_eq!(error.rule(), Some(Rule::Complete), "{length}: {error}");
    }
    for length in (0..whole.len()).step_by(61) {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = extract(&file, &target, &Limits::default(), Expect::Any).unwrap_err();
        assert_eq!(error.rule(), Some(Rule::Complete), "{length}: {error}");
        assert!(!target.exists(), "{length}");
    }
}

#[test]
fn an_existing_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), "mine").unwrap();
    extract(&fixtures().join("containerd.tar.gz"), &target, &Limits::default(), Expect::Any).unwrap_err();
    assert_eq!(listing(&target), ["mine"]);
    std::os::unix::fs::symlink(directory.path(), directory.path().join("link")).unwrap();
    extract(&fixtures().join("containerd.tar.gz"), &directory.path().join("link"), &Limits::default(), Expect::Any).unwrap_err();
    assert_eq!(listing(directory.path()), ["link", "target"]);
}

#[test]
fn what_engines_wrote_is_extracted() {
    use std::os::unix::fs::PermissionsExt as _;
    for (name, engine) in [("containerd.tar.gz", Engine::Containerd), ("podman.tar.gz", Engine::Podman), ("podman.tar.zst", Engine::Podman)]
    {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        let extracted = extract(&fixtures().join(name), &target, &Limits::default(), Expect::Only(engine)).unwrap();
        assert_eq!((extracted.engine, extracted.left_out), (engine, 0), "{name}");
        assert!(target.join("checkpoint/inventory.img").exists());
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(target.join("spec.dump")).unwrap().permissions().mode() & 0o777, 0o600);
        let facts = extracted.facts.unwrap();
        assert!(facts.env.contains(&"GREETING=hello".to_owned()), "{name}");
    }
}
