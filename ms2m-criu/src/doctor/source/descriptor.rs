//! One open file descriptor, as `/proc/PID/fd` and `/proc/PID/fdinfo` show it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// One open file descriptor.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Descriptor {
    /// Whose.
    pub(super) pid: i32,
    /// Its number.
    pub(super) number: i32,
    /// What the link says: a path, `socket:[inode]`, `anon_inode:[what]`.
    pub(super) target: String,
    /// The mount that it was opened on.
    pub(super) mount: Option<i32>,
    /// The locks that it holds, as `fdinfo` lists them.
    pub(super) locks: Vec<String>,
    /// How many inotify or fanotify marks it has.
    pub(super) watches: usize,
    /// Size in bytes, and the number of names, of a file that has lost its name.
    pub(super) deleted: Option<(u64, u64)>,
    /// Whether it is an ordinary file or a directory, where that was looked at: below `/dev`.
    pub(super) regular: bool,
    /// A socket's protocol, for example `TCP`, where the kernel tells.
    pub(super) protocol: Option<String>,
}

impl Descriptor {
    /// Reads descriptor `number` of `pid` in its directory `process`. `None` when it was closed meanwhile.
    pub(super) fn read(process: &Path, pid: i32, number: i32) -> Option<Self> {
        let link = process.join("fd").join(number.to_string());
        let target = fs::read_link(&link).ok()?.to_string_lossy().into_owned();
        let info = fs::read_to_string(process.join("fdinfo").join(number.to_string())).unwrap_or_default();
        let mut one = Self { pid, number, target, ..Self::default() };
        for line in info.lines() {
            match line.split_once(':') {
                Some(("mnt_id", id)) => one.mount = id.trim().parse().ok(),
                Some(("lock", lock)) => one.locks.push(lock.trim().to_owned()),
                _ if line.starts_with("inotify ") || line.starts_with("fanotify ino") || line.starts_with("fanotify mnt") => {
                    one.watches += 1;
                }
                _ => {}
            }
        }
        if one.is_deleted_file() {
            one.deleted = fs::metadata(&link).ok().map(|file| (file.len(), file.nlink()));
        }
        if one.target.starts_with("/dev/") {
            one.regular = fs::metadata(&link).is_ok_and(|file| file.is_file() || file.is_dir());
        }
        if one.socket().is_some() {
            one.protocol = protocol(&link);
        }
        Some(one)
    }

    /// The inode, for a socket.
    pub(super) fn socket(&self) -> Option<u64> {
        self.target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }

    /// What kind of object, for one that has no name in any file system: `io_uring`, `eventpoll`.
    pub(super) fn anonymous(&self) -> Option<&str> {
        let kind = self.target.strip_prefix("anon_inode:")?;
        Some(kind.trim_start_matches('[').trim_end_matches(']'))
    }

    /// The path, for what has one.
    pub(super) fn path(&self) -> Option<&str> {
        self.target.starts_with('/').then_some(self.target.as_str())
    }

    fn is_deleted_file(&self) -> bool {
        self.path().is_some_and(|path| path.ends_with(" (deleted)") && !path.starts_with("/memfd:"))
    }

    /// Whose it is, for people.
    pub(super) fn place(&self) -> String {
        format!("descriptor {} of process {}", self.number, self.pid)
    }
}

/// The kernel's name for the protocol; it is an attribute of every socket.
fn protocol(link: &Path) -> Option<String> {
    let mut name = [0u8; 64];
    let length = rustix::fs::getxattr(link, "system.sockprotoname", &mut name[..]).ok()?;
    let name = name.get(..length)?;
    Some(String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned())
}
