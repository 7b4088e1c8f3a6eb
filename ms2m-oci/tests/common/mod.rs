//! Archives to pack, and what lies in a directory afterwards.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ms2m_oci::{Facts, LayoutName, Limits, OciError, PackOptions, Packed, Tag, pack};
use tempfile::TempDir;

/// A plain tar with one file of `pages`.
pub(crate) fn archive(pages: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [("config.dump", &b"{}"[..]), ("spec.dump", b"{}"), ("checkpoint/pages-1.img", pages)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A directory with an archive in it, for a layout beside it.
pub(crate) struct Home {
    directory: TempDir,
    pub(crate) archive: PathBuf,
    pub(crate) layout: PathBuf,
}

impl Home {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), bytes)
    }

    pub(crate) fn within(directory: TempDir, bytes: &[u8]) -> Self {
        let (archive, layout) = (directory.path().join("archive.tar"), directory.path().join("layout"));
        fs::write(&archive, bytes).unwrap();
        Self { directory, archive, layout }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn pack(&self, tag: Option<&str>, options: &PackOptions) -> Result<Packed, OciError> {
        let name = LayoutName { directory: self.layout.clone(), tag: tag.map(|tag| Tag::new(tag).unwrap()) };
        pack(&self.archive, &name, &facts(), options, &mut |_| ControlFlow::Continue(()))
    }

    pub(crate) fn open(&self) -> ms2m_oci::Layout {
        ms2m_oci::Layout::open(&self.layout, &Limits::default()).unwrap()
    }
}

pub(crate) fn facts() -> Facts {
    Facts { container: "orders".into(), engine: Some("containerd".into()), architecture: Some("x86_64".into()), ..Facts::default() }
}

/// All files below, hidden ones too.
pub(crate) fn walk(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            names.push(format!("{}/", path.strip_prefix(directory).unwrap().display()));
            let base = path.strip_prefix(directory).unwrap().display().to_string();
            names.extend(walk(&path).into_iter().map(|name| format!("{base}/{name}")));
        } else {
            names.push(path.strip_prefix(directory).unwrap().display().to_string());
        }
    }
    names.sort();
    names
}
