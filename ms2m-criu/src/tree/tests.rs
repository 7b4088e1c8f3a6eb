use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

fn packed(directory: &Path, which: Which) -> Vec<u8> {
    let mut tar = Vec::new();
    pack(directory, which, TreeLimits::default(), &mut tar).unwrap();
    tar
}

fn unpacked(tar: &[u8]) -> tempfile::TempDir {
    let target = tempfile::tempdir().unwrap();
    unpack(target.path(), TreeLimits::default(), tar).unwrap();
    target
}

/// A tar file with one empty member.
fn one(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend([0; 1024]);
    tar
}

#[test]
fn everything_arrives_as_it_was() {
    let source = tempfile::tempdir().unwrap();
    let at = |name: &str| source.path().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/file"), "content").unwrap();
    fs::set_permissions(at("a/b/file"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::hard_link(at("a/b/file"), at("a/twin")).unwrap();
    symlink("../anywhere", at("a/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    let long = "n".repeat(200);
    fs::write(at(&long), "long").unwrap();

    let target = unpacked(&packed(source.path(), Which::All));
    let arrived = |name: &str| target.path().join(name);
    assert_eq!(fs::read_to_string(arrived("a/b/file")).unwrap(), "content");
    assert_eq!(fs::metadata(arrived("a/b/file")).unwrap().mode() & 0o7777, 0o4750);
    assert_eq!(fs::metadata(arrived("a/twin")).unwrap().ino(), fs::metadata(arrived("a/b/file")).unwrap().ino());
    assert_eq!(fs::read_link(arrived("a/link")).unwrap(), Path::new("../anywhere"));
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(arrived("pipe")).unwrap().file_type()));
    assert_eq!(fs::read_to_string(arrived(&long)).unwrap(), "long");
    assert_eq!(fs::metadata(arrived("a")).unwrap().mtime(), fs::metadata(at("a")).unwrap().mtime());
}

#[test]
fn only_changes_are_packed_when_asked_for() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("old")).unwrap();
    fs::write(source.path().join("old/file"), "").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let since = SystemTime::now();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(source.path().join("old/file"), "changed").unwrap();
    fs::write(source.path().join("new"), "").unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(target.path().join("old")).unwrap();
    unpack(target.path(), TreeLimits::default(), packed(source.path(), Which::ChangedSince(since)).as_slice()).unwrap();
    assert_eq!(fs::read_to_string(target.path().join("old/file")).unwrap(), "changed");
    assert!(target.path().join("new").exists());
    assert_eq!(packed(source.path(), Which::ChangedSince(SystemTime::now() + Duration::from_secs(9))).len(), 1024);
}

#[test]
fn deletions_reach_what_is_below() {
    let target = tempfile::tempdir().unwrap();
    fs::create_dir_all(target.path().join("full/deep")).unwrap();
    fs::write(target.path().join("full/deep/file"), "").unwrap();
    fs::write(target.path().join("gone"), "").unwrap();
    unpack(target.path(), TreeLimits::default(), one("full/.wh..wh..opq", tar::EntryType::Regular, "").as_slice()).unwrap();
    unpack(target.path(), TreeLimits::default(), one(".wh.gone", tar::EntryType::Regular, "").as_slice()).unwrap();
    unpack(target.path(), TreeLimits::default(), one(".wh.never-there", tar::EntryType::Regular, "").as_slice()).unwrap();
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(target.path().join("full")).unwrap().count(), 0);
}

#[test]
fn nothing_leads_out_of_the_tree() {
    let outside = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    symlink(outside.path(), target.path().join("door")).unwrap();
    let hostile = [
        one("../escaped", tar::EntryType::Regular, ""),
        one("/escaped", tar::EntryType::Regular, ""),
        one("door/escaped", tar::EntryType::Regular, ""),
        one("door/.wh.x", tar::EntryType::Regular, ""),
        one(".wh...", tar::EntryType::Regular, ""),
        one("hard", tar::EntryType::Link, "../../etc/hostname"),
        one("hard", tar::EntryType::Link, "door/x"),
        one("node", tar::EntryType::Char, ""),
    ];
    for tar in hostile {
        unpack(target.path(), TreeLimits::default(), tar.as_slice()).unwrap_err();
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
}

#[test]
fn an_owner_that_cannot_be_is_refused() {
    for owner in [u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
        let mut header = tar::Header::new_gnu();
        header.set_path("file").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(owner);
        header.set_gid(0);
        header.set_cksum();
        let tar = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let target = tempfile::tempdir().unwrap();
        let error = unpack(target.path(), TreeLimits::default(), tar.as_slice()).unwrap_err();
        assert!(matches!(error, TreeError::Io { .. }), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}

#[test]
fn limits_hold_on_both_ways() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), vec![0; 1000]).unwrap();
    fs::write(source.path().join("b"), vec![0; 1000]).unwrap();
    let tar = packed(source.path(), Which::All);
    for limits in [TreeLimits { bytes_max: 1999, entries_max: 9 }, TreeLimits { bytes_max: 9999, entries_max: 1 }] {
        let error = pack(source.path(), Which::All, limits, std::io::sink()).unwrap_err();
        assert!(matches!(error, TreeError::TooLarge { .. }), "{error}");
        let target = tempfile::tempdir().unwrap();
        let error = unpack(target.path(), limits, tar.as_slice()).unwrap_err();
        assert!(matches!(error, TreeError::TooLarge { .. }), "{error}");
    }
}
