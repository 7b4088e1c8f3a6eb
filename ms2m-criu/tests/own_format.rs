//! Our own archives: packed from a directory, streamed from any offset, extracted while they arrive.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Error, ErrorKind};
use ms2m_criu::archive::{ContainerManifest, Limits, Manifest, ParentLink, Rule, TarPlan, extract_stream};

/// More than one piece of a stream.
const PAGES: usize = (1 << 20) + 100_000;

fn container(name: &str) -> ContainerManifest {
    ContainerManifest { name: name.into(), id: format!("{name}-id"), ..Default::default() }
}

/// A checkpoint of two containers, one of them with two pre-dump rounds.
fn checkpoint(directory: &Path) -> Manifest {
    for (path, content) in [
        ("containers/a/checkpoint/pages-1.img", vec![3; PAGES]),
        ("containers/a/checkpoint/inventory.img", b"i".to_vec()),
        ("containers/a/pre-1/pages-1.img", vec![1; 200_001]),
        ("containers/a/pre-2/pages-1.img", vec![2; 5]),
        ("containers/a/spec.json", b"{}".to_vec()),
        ("containers/a/rootfs-diff.tar", vec![0; 512]),
        ("containers/a/volumes/data.tar", vec![9; 513]),
        ("containers/b/checkpoint/inventory.img", vec![]),
    ] {
        fs::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
        fs::write(directory.join(path), content).unwrap();
    }
    fs::create_dir(directory.join("containers/b/volumes")).unwrap();
    std::os::unix::fs::symlink("../pre-1", directory.join("containers/a/pre-2/parent")).unwrap();
    std::os::unix::fs::symlink(directory.join("containers/a/pre-2"), directory.join("containers/a/checkpoint/parent")).unwrap();
    Manifest::new(vec![container("a"), container("b")])
}

async fn collect(mut body: ByteStream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend(piece?);
    }
    Ok(all)
}

/// Every file and link with its content.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            if path.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else if path.is_dir() {
                found.insert(format!("{name}/"), vec![]);
                todo.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_packed_arrives() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    let manifest = checkpoint(&source);
    let plan = TarPlan::scan(&source, manifest).unwrap();
    let links = [("checkpoint", "pre-2"), ("pre-2", "pre-1")];
    let links = links.map(|(directory, parent)| ParentLink { directory: directory.into(), parent: parent.into() });
    assert_eq!(plan.manifest().containers[0].parents, links);

    let target = home.path().join("target");
    let extracted = extract_stream(plan.stream(0), &target, &Limits::default()).await.unwrap();
    assert_eq!(extracted.manifest.as_ref(), Some(plan.manifest()));
    let mut before = tree(&source);
    before.insert("containers/a/checkpoint/parent".into(), b"../pre-2".to_vec());
    before.insert("manifest.json".into(), serde_json::to_vec_pretty(plan.manifest()).unwrap());
    assert_eq!(tree(&target), before);

    // A copy of the checkpoint makes the same archive, wherever it lies and whatever its times.
    let again = TarPlan::scan(&target, extracted.manifest.unwrap()).unwrap();
    assert_eq!(collect(again.stream(0)).await.unwrap(), collect(plan.stream(0)).await.unwrap());
}

#[tokio::test]
async fn any_offset_yields_the_rest() {
    let home = tempfile::tempdir().unwrap();
    let plan = TarPlan::scan(home.path(), checkpoint(home.path())).unwrap();
    let whole = collect(plan.stream(0)).await.unwrap();
    assert_eq!(whole.len() as u64, plan.bytes());
    let mut offsets: Vec<usize> =
        (0..whole.len()).step_by(255_370).chain([1, 511, 512, 513, 1024, whole.len() - 1, whole.len(), whole.len() + 9]).collect();
    offsets.extend((0..3000).step_by(61));
    for offset in offsets {
        let rest = collect(plan.stream(offset as u64)).await.unwrap();
        assert!(rest == whole.get(offset..).unwrap_or_default(), "from {offset}");
    }
    let mut written = Vec::new();
    plan.write_to(&mut written, 700).unwrap();
    assert!(written == whole[700..]);
}

#[tokio::test]
async fn a_file_that_changes_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let plan = TarPlan::scan(home.path(), checkpoint(home.path())).unwrap();
    let pages = home.path().join("containers/a/checkpoint/pages-1.img");
    for length in [PAGES as u64 - 1, PAGES as u64 + 1, 0] {
        fs::File::options().write(true).open(&pages).unwrap().set_len(length).unwrap();
        let error = collect(plan.stream(0)).await.unwrap_err();
        assert!(error.to_string().contains("changed its size"), "{error}");
    }
    fs::remove_file(&pages).unwrap();
    assert_eq!(collect(plan.stream(0)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

type Spoil<'a> = &'a dyn Fn(&Path);

#[test]
fn what_does_not_travel_is_named() {
    let spoil: [(&str, Spoil); 7] = [
        ("neither a file nor a directory", &|home| std::os::unix::fs::symlink("/etc", home.join("containers/a/link")).unwrap()),
        ("earlier image directory", &|home| std::os::unix::fs::symlink("/etc", home.join("containers/b/checkpoint/parent")).unwrap()),
        ("earlier image directory", &|home| std::os::unix::fs::symlink("../../b", home.join("containers/b/checkpoint/parent")).unwrap()),
        ("no place", &|home| fs::write(home.join("extra"), "").unwrap()),
        ("no container of the manifest", &|home| fs::create_dir(home.join("containers/c")).unwrap()),
        ("has no directory", &|home| fs::remove_dir_all(home.join("containers/b")).unwrap()),
        ("too long", &|home| fs::write(home.join("containers/a").join("x".repeat(120)), "").unwrap()),
    ];
    for (what, change) in spoil {
        let home = tempfile::tempdir().unwrap();
        let manifest = checkpoint(home.path());
        change(home.path());
        let error = TarPlan::scan(home.path(), manifest).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fails_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    let plan = TarPlan::scan(&source, checkpoint(&source)).unwrap();
    let whole = collect(plan.stream(0)).await.unwrap();
    let target = home.path().join("target");
    for cut in [0, 100, 512, 5_000, 1 << 20, whole.len() - 1] {
        let pieces = || stream::iter(whole[..cut].chunks(4096).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>());
        let error = extract_stream(Box::pin(pieces()), &target, &Limits::default()).await.unwrap_err();
        assert_eq!(error.rule(), Some(Rule::Complete), "{cut}: {error}");
        assert!(!target.exists());
        let failing = pieces().chain(stream::iter([Err(Error::retry(ErrorKind::Unavailable, "the line is down"))]));
        let error = Error::from(extract_stream(Box::pin(failing), &target, &Limits::default()).await.unwrap_err());
        assert_eq!((error.kind(), error.message().as_str()), (ErrorKind::Unavailable, "the line is down"));
        assert!(!target.exists());
    }
    // Given up in the middle.
    let pieces = stream::iter([Ok(Bytes::copy_from_slice(&whole[..1 << 20]))]).chain(stream::pending());
    let limits = Limits::default();
    let waiting = extract_stream(Box::pin(pieces), &target, &limits);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), waiting).await.is_err());
    for _ in 0..200 {
        if !target.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the directory of an extraction that was given up is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_archives_are_no_archives_of_ours() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    let plan = TarPlan::scan(&source, checkpoint(&source)).unwrap();
    let packed = zstd::encode_all(collect(plan.stream(0)).await.unwrap().as_slice(), 1).unwrap();
    let body = stream::iter([Ok(Bytes::from(packed))]);
    let error = extract_stream(Box::pin(body), &home.path().join("target"), &Limits::default()).await.unwrap_err();
    assert_eq!(error.rule(), Some(Rule::WellFormed));
}
