//! The machine's files, under a root that tests replace.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where `/proc`, `/sys` and `/etc` are.
#[derive(Clone, Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// The machine that this program runs on.
    pub(super) fn here() -> Self {
        Self::at("/")
    }

    /// A tree that looks like a machine.
    pub(super) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the absolute `path` lies.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of a file.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        fs::read_to_string(self.path(path))
    }
}

#[cfg(test)]
pub(super) mod fake {
    use super::{Host, fs};

    /// A machine in a directory of its own.
    pub(in crate::doctor) struct Fake {
        dir: tempfile::TempDir,
        pub(in crate::doctor) host: Host,
    }

    impl Fake {
        pub(in crate::doctor) fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let host = Host::at(dir.path());
            Self { dir, host }
        }

        pub(in crate::doctor) fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
            self
        }

        pub(in crate::doctor) fn link(&self, path: &str, target: &str) -> &Self {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink(target, path).expect("a link");
            self
        }

        pub(in crate::doctor) fn root(&self) -> &std::path::Path {
            self.dir.path()
        }
    }
}
