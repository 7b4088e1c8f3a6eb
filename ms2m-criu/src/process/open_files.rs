//! What a tree has open that source and copy cannot share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::id::ProcessId;
use crate::store::failed;

/// What is written about it, beside the images.
pub(super) const DESCRIPTION: &str = "process.json";
/// The directory of the files' contents, beside the images.
pub(super) const CONTENTS: &str = "files";

const ACCESS: u64 = 0o3;
const READ_ONLY: u64 = 0;

/// What the copy needs besides the images.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct OpenFiles {
    /// Regular files that are open for writing; their contents are in [`CONTENTS`] by their index.
    pub(super) files: Vec<WrittenFile>,
    /// Pipes to processes outside of the tree, by CRIU's names: `pipe:[inode]`.
    pub(super) pipes: Vec<String>,
    /// Whether the session, or terminal, is from outside of the tree.
    pub(super) foreign_session: bool,
}

/// A regular file that the tree has open for writing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct WrittenFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its owner.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
}

impl OpenFiles {
    /// Looks at every descriptor and shared mapping of these processes.
    pub(super) fn of(members: &BTreeSet<ProcessId>) -> Result<Self> {
        let mut files = BTreeMap::new();
        // Writing and reading ends, by name.
        let (mut written, mut read) = (BTreeSet::new(), BTreeSet::new());
        for id in members {
            for link in links(&format!("/proc/{id}/fd"))? {
                let Ok(target) = fs::read_link(&link) else { continue };
                let name = target.to_string_lossy().into_owned();
                if name.starts_with("pipe:[") {
                    let writes = flags(*id, &link).is_some_and(|flags| flags & ACCESS != READ_ONLY);
                    if writes {
                        written.insert(name)
                    } else {
                        read.insert(name)
                    };
                } else if name.starts_with("/dev/pts/") || name == "/dev/tty" || name == "/dev/console" {
                    let text = "the source has a terminal: start it without one (setsid, stdio from /dev/null or files)";
                    return Err(Error::fatal(ErrorKind::Unsupported, text).with("pid", id).with("terminal", name));
                } else if flags(*id, &link).is_some_and(|flags| flags & ACCESS != READ_ONLY) {
                    note(&link, target, &mut files);
                }
            }
            for link in links(&format!("/proc/{id}/map_files"))? {
                // The mode of such a link is that of the mapping.
                let shared = fs::symlink_metadata(&link).is_ok_and(|link| link.permissions().mode() & 0o200 != 0);
                if let Ok(target) = fs::read_link(&link).map_err(drop)
                    && shared
                {
                    note(&link, target, &mut files);
                }
            }
        }
        let pipes = written.difference(&read).cloned().collect();
        Ok(Self { files: files.into_values().collect(), pipes, foreign_session: false })
    }

    /// Copies the contents into an empty directory, while the tree stands still.
    pub(super) fn save(&self, beside: &Path, bytes_max: u64) -> Result<()> {
        let contents = beside.join(CONTENTS);
        fs::create_dir(&contents).map_err(|error| failed("making a directory for files", &contents, error))?;
        let mut left = bytes_max;
        for (index, written) in self.files.iter().enumerate() {
            let copied = copy(&written.path, &contents.join(index.to_string()), left);
            let bytes = copied.map_err(|error| failed("copying a file that the source writes", &written.path, error))?;
            left = left.checked_sub(bytes).ok_or_else(|| {
                let text = "the files that the source writes are too large to be copied while it is frozen: raise the limit, or close them";
                Error::fatal(ErrorKind::LimitExceeded, text).with("bytes_max", bytes_max).with("file", written.path.display())
            })?;
        }
        let json = serde_json::to_vec(self).map_err(|error| Error::fatal(ErrorKind::Other, "no JSON").caused_by(error))?;
        let path = beside.join(DESCRIPTION);
        fs::write(&path, json).map_err(|error| failed("describing open files", &path, error))
    }

    /// Reads what has arrived, which may be anybody's words.
    pub(super) fn read(beside: &Path) -> Result<Self> {
        let path = beside.join(DESCRIPTION);
        let json = fs::read(&path).map_err(|error| failed("reading the description of open files", &path, error))?;
        let found: Self = serde_json::from_slice(&json)
            .map_err(|error| Error::undo(ErrorKind::Corrupt, "the description of open files is malformed").caused_by(error))?;
        let plain = |path: &Path| path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir);
        match found.files.iter().find(|file| !plain(&file.path)) {
            Some(file) => Err(Error::undo(ErrorKind::Invalid, "an open file has no absolute path").with("file", file.path.display())),
            None => Ok(found),
        }
    }

    /// Gives the contents their owners, and says which file goes where.
    pub(super) fn place(&self, beside: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        let place = |(index, file): (usize, &WrittenFile)| {
            let content = beside.join(CONTENTS).join(index.to_string());
            let owned = std::os::unix::fs::chown(&content, Some(file.uid), Some(file.gid));
            let done = owned.and_then(|()| fs::set_permissions(&content, fs::Permissions::from_mode(file.mode & 0o7777)));
            done.map_err(|error| failed("placing a file of the copy", &content, error))?;
            Ok((content, file.path.clone()))
        };
        self.files.iter().enumerate().map(place).collect()
    }
}

/// A process, or one of its descriptors, that has vanished meanwhile is no error: only a stopped tree is looked at for good.
fn links(directory: &str) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("looking at the source's files", Path::new(directory), error)),
    }
}

fn flags(id: ProcessId, link: &Path) -> Option<u64> {
    let number = link.file_name()?.to_str()?;
    let text = fs::read_to_string(format!("/proc/{id}/fdinfo/{number}")).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u64::from_str_radix(flags.trim(), 8).ok()
}

/// Notes a regular file that has this very name. One without a name travels in CRIU's images, as do those in memory only.
fn note(link: &Path, target: PathBuf, files: &mut BTreeMap<(u64, u64), WrittenFile>) {
    let (Ok(open), Ok(named)) = (fs::metadata(link), fs::symlink_metadata(&target)) else { return };
    if open.is_file() && (open.dev(), open.ino()) == (named.dev(), named.ino()) {
        let file = WrittenFile { path: target, mode: open.permissions().mode(), uid: open.uid(), gid: open.gid() };
        files.entry((open.dev(), open.ino())).or_insert(file);
    }
}

/// Copies at most `left` bytes and one more, and says how many.
fn copy(from: &Path, to: &Path, left: u64) -> io::Result<u64> {
    let mut source = io::Read::take(File::open(from)?, left.saturating_add(1));
    // Blocks are shared where the file system can.
    io::copy(&mut source, &mut File::create_new(to)?)
}
