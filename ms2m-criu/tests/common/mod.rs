//! Builds archives, good and bad ones, byte by byte.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

/// A tar under construction.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn member(mut self, name: &str, kind: EntryType, content: &[u8]) -> Self {
        self.0.extend(header(name, kind, content.len() as u64).as_bytes());
        self.content(content)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name, EntryType::Regular, content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.member(name, EntryType::Directory, b"")
    }

    /// A header as it is, and content behind it.
    pub(crate) fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend(header.as_bytes());
        self.content(content)
    }

    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let data: String = records
            .iter()
            .map(|(key, value)| {
                let bare = key.len() + value.len() + 3;
                let length = (1..).map(|digits| bare + digits).find(|sum| sum.to_string().len() == sum - bare).unwrap();
                format!("{length} {key}={value}\n")
            })
            .collect();
        self.member("pax", EntryType::XHeader, data.as_bytes())
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// The documents without which no engine is known, and an inventory.
    pub(crate) fn containerd() -> Self {
        Self::default()
            .directory("checkpoint/")
            .file("checkpoint/inventory.img", b"images")
            .file("config.dump", br#"{"id":"1","name":"main"}"#)
            .file("spec.dump", b"{}")
    }
}

/// A header with any name, also one that the `tar` crate would not write.
pub(crate) fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o777);
    header.set_cksum();
    header
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A fixture's plain tar.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(fixtures().join(name)).unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut plain).unwrap();
    plain
}

/// What lies in a directory, to show that nothing does.
pub(crate) fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
