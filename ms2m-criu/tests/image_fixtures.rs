//! What CRIU 4.2 wrote, decoded: `tests/fixtures/subject.c` says what must be there.

mod common;

use std::collections::BTreeMap;

use common::fixture;
use ms2m_criu::archive::{Limits, Reader};
use ms2m_criu::image::{FileKind, ImageError, Images, Machine, OpenFile, TaskState, TcpState, is_wanted};

fn images(name: &str) -> BTreeMap<String, Vec<u8>> {
    let plain = fixture(name);
    let mut reader = Reader::new(plain.as_slice(), Limits::default());
    let mut found = BTreeMap::new();
    while let Some(member) = reader.next_member().unwrap() {
        let base = member.name.rsplit('/').next().unwrap().to_owned();
        if is_wanted(&base) {
            found.insert(base, reader.read_document().unwrap());
        }
    }
    found
}

#[test]
fn the_subject_is_recognised() {
    for (name, child, connections) in [("containerd.tar.gz", 7, 3), ("podman.tar.gz", 6, 2)] {
        let images = Images::decode(&images(name)).unwrap();
        assert_eq!(images.missing, Vec::<String>::new());
        assert_eq!(images.inventory.as_ref().unwrap().version, 2);
        assert_eq!(images.inventory.as_ref().unwrap().tcp_close, name.starts_with("containerd"));
        assert_eq!(images.hostname.as_deref(), Some("subject"));
        let tree: Vec<_> = images.processes.iter().map(|process| (process.pid, process.ppid, process.comm.as_str())).collect();
        assert_eq!(tree, [(1, 0, "subject"), (child, 1, "subject-child")]);
        let first = &images.processes[0];
        assert_eq!((first.state, first.machine, first.threads.len()), (TaskState::Alive, Machine::X86_64, 1));
        assert_eq!((first.exe.as_deref(), first.cwd.as_deref(), first.root.as_deref()), (Some("/subject"), Some("/"), Some("/")));
        let kinds: Vec<_> = first.vmas.iter().map(|vma| vma.kind.as_str()).collect();
        assert_eq!(kinds, ["anonymous", "file", "heap", "stack", "vdso", "vsyscall"]);
        assert_eq!(first.pages.in_parent, 0);

        let dump = images.dump.unwrap();
        assert_eq!(dump.pages_written, images.pages.present);
        assert!(dump.frozen_us > 10_000 && dump.frozen_us < 1_000_000, "{dump:?}");

        let sockets: Vec<_> =
            images.files.values().filter_map(|file| if let OpenFile::Inet(socket) = file { Some(socket) } else { None }).collect();
        assert_eq!(
            sockets.iter().filter(|socket| socket.state == TcpState::Listen && socket.local.to_string() == "0.0.0.0:7070").count(),
            1
        );
        assert_eq!(sockets.iter().filter(|socket| socket.is_connection()).count(), connections);
        let outer = sockets.iter().filter(|socket| socket.peer.to_string() == "10.77.0.1:5000").count();
        assert_eq!(outer, connections - 2);
        let paths: Vec<_> = images
            .files
            .values()
            .filter_map(|file| if let OpenFile::Regular { path, .. } = file { Some(path.as_str()) } else { None })
            .collect();
        for path in ["/notes.txt", "/gone.txt", "/subject"] {
            assert!(paths.contains(&path), "{paths:?}");
        }
        assert!(
            images
                .files
                .values()
                .any(|file| matches!(file, OpenFile::Unix(socket) if socket.name == "/tmp-subject.sock" && socket.listens))
        );
        assert_eq!(images.ghosts.len(), 1);
        assert_eq!(images.ghosts[0].size, 7);
        assert_eq!(first.descriptors.iter().filter(|descriptor| descriptor.kind == FileKind::Pipe).count(), 4);
        assert!(images.mounts.iter().any(|mount| mount.mountpoint == "/" && mount.fstype == "overlay"), "{:?}", images.mounts);
    }
}

#[test]
fn images_cut_at_any_byte_never_panic() {
    let whole = images("containerd.tar.gz");
    for (name, image) in &whole {
        let mut cut = whole.clone();
        for length in (0..image.len()).rev() {
            cut.get_mut(name).unwrap().truncate(length);
            // Between entries a list simply ends earlier; everywhere else it is an error.
            if let Err(error) = Images::decode(&cut) {
                assert!(matches!(error, ImageError::Malformed { .. }), "{name} {length}: {error}");
            }
        }
        assert!(Images::decode(&cut).is_err(), "{name}");
    }
}

#[test]
fn lengths_are_not_believed() {
    let mut images = images("containerd.tar.gz");
    let files = images.get_mut("files.img").unwrap();
    files[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Images::decode(&images).unwrap_err(), ImageError::TooLarge { .. }));
    // Many empty entries cost memory out of proportion.
    let mut many = 0x5456_4319_u32.to_le_bytes().to_vec();
    many.extend(0x5630_3138_u32.to_le_bytes());
    many.resize(8 + 4 * 300_000, 0);
    let images = BTreeMap::from([("files.img".to_owned(), many)]);
    assert!(matches!(Images::decode(&images).unwrap_err(), ImageError::TooLarge { .. }));
}
