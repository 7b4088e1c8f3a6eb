//! A layout appears whole or not at all, whoever else is at work.

mod common;

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use common::{Home, archive, facts, walk};
use ms2m_oci::{Layout, LayoutName, Limits, OciError, PackOptions, Tag, pack};

#[test]
fn a_stop_leaves_nothing() {
    for copy in [false, true] {
        for compression in [ms2m_oci::Compression::None, ms2m_oci::Compression::Zstd] {
            let home = Home::new(&archive(&vec![3; 5 << 20]));
            let name = LayoutName { directory: home.layout.clone(), tag: None };
            let options = PackOptions { copy, compression, ..PackOptions::default() };
            let mut stop = |bytes| if bytes > 1 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let error = pack(&home.archive, &name, &facts(), &options, &mut stop).unwrap_err();
            assert!(matches!(error, OciError::Stopped), "{error}");
            assert_eq!(walk(home.path()), ["archive.tar"]);
        }
    }
}

#[test]
fn an_archive_that_is_written_to_is_told() {
    for copy in [false, true] {
        let home = Home::new(&archive(&vec![3; 5 << 20]));
        let name = LayoutName { directory: home.layout.clone(), tag: None };
        let mut once = Some(fs::OpenOptions::new().append(true).open(&home.archive).unwrap());
        let mut write = |_| {
            if let Some(mut file) = once.take() {
                file.write_all(b"more").unwrap();
            }
            ControlFlow::Continue(())
        };
        let error = pack(&home.archive, &name, &facts(), &PackOptions { copy, ..PackOptions::default() }, &mut write).unwrap_err();
        assert!(matches!(error, OciError::Changed { .. }), "{error}");
        let shrink = |bytes: u64| -> ControlFlow<()> {
            if bytes < 1 << 20 {
                fs::OpenOptions::new().write(true).open(&home.archive).unwrap().set_len(1 << 20).unwrap();
            }
            ControlFlow::Continue(())
        };
        let error = pack(&home.archive, &name, &facts(), &PackOptions { copy, ..PackOptions::default() }, &mut { shrink }).unwrap_err();
        assert!(matches!(error, OciError::Changed { .. }), "{error}");
        assert_eq!(walk(home.path()), ["archive.tar"]);
    }
}

#[test]
fn many_pack_into_one_layout_at_once() {
    let home = Home::new(&archive(b"0"));
    const PACKERS: u8 = 8;
    thread::scope(|scope| {
        for packer in 0..PACKERS {
            let home = &home;
            scope.spawn(move || {
                let archive_path = home.path().join(format!("{packer}.tar"));
                fs::write(&archive_path, archive(&[packer; 70_000])).unwrap();
                for round in 0..4 {
                    let tag = Tag::new(format!("p{packer}-{round}")).unwrap();
                    let name = LayoutName { directory: home.layout.clone(), tag: Some(tag) };
                    let packed = pack(&archive_path, &name, &facts(), &PackOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
                    assert!(packed.added);
                    // Whoever reads meanwhile sees a whole layout.
                    let layout = Layout::open(&home.layout, &Limits::default()).unwrap();
                    assert_eq!(layout.checkpoint(Some(packed.tag.as_str())).unwrap().digest(), packed.image.manifest.digest());
                }
            });
        }
    });
    assert_eq!(home.open().tags().count(), usize::from(PACKERS) * 4);
    assert_eq!(walk(&home.layout).iter().filter(|name| name.starts_with("blobs/sha256/")).count(), 1 + usize::from(PACKERS) * 3);
    assert!(!walk(home.path()).iter().any(|name| name.contains("ms2m-pack")), "{:?}", walk(home.path()));
}

fn age(path: &Path) {
    fs::File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
}

#[test]
fn what_a_killed_process_has_left_is_removed() {
    let home = Home::new(&archive(b"x"));
    let beside = home.path().join(".layout.abc123.ms2m-pack");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("layer"), "half").unwrap();
    age(&beside);
    let (other, foreign) = (home.path().join(".other.abc.ms2m-pack"), home.path().join(".layout.txt"));
    fs::create_dir(&other).unwrap();
    age(&other);
    fs::write(&foreign, "").unwrap();
    home.pack(Some("a"), &PackOptions::default()).unwrap();
    assert!(!beside.exists() && other.exists() && foreign.exists());
    let within = home.layout.join(".layout.def456.ms2m-pack");
    fs::create_dir(&within).unwrap();
    age(&within);
    // One whose owner lives is left alone.
    let alive = home.layout.join(".layout.ghi789.ms2m-pack");
    fs::create_dir(&alive).unwrap();
    age(&alive);
    let lock = fs::File::open(&alive).unwrap();
    lock.lock().unwrap();
    home.pack(Some("b"), &PackOptions::default()).unwrap();
    assert!(!within.exists() && alive.exists());
}

#[test]
fn an_empty_directory_becomes_a_layout() {
    let home = Home::new(&archive(b"x"));
    fs::create_dir(&home.layout).unwrap();
    home.pack(Some("a"), &PackOptions::default()).unwrap();
    home.open().checkpoint(Some("a")).unwrap();
    assert!(!walk(home.path()).iter().any(|name| name.contains("ms2m-pack")));
}
