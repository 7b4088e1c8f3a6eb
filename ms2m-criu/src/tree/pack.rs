//! From a directory to a tar file.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::XattrFlags;
use tar::{Builder, EntryType, Header};

use super::{OPAQUE, PAX_XATTR, TreeError, TreeLimits, WHITEOUT};

/// What of a directory is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Everything that lies on its own file system.
    All,
    /// It is the upper directory of an overlay: deletions are in there.
    Upper,
    /// Only what has changed since, told by the inode's change time, with the directories on the way there. Deletions are not seen.
    ChangedSince(SystemTime),
}

/// What was packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packed {
    /// Bytes in all files.
    pub bytes: u64,
    /// Files, directories, links, deletions.
    pub entries: u64,
}

/// Packs `directory` into `output`. The tree must not change meanwhile.
///
/// Sockets are left out (CRIU makes them again). Device nodes are refused, except in a tmpfs ([`Which::All`]): there they are left
/// out, because the runtime makes its own.
///
/// # Errors
/// See [`TreeError`].
pub fn pack(directory: &Path, which: Which, limits: TreeLimits, output: impl Write) -> Result<Packed, TreeError> {
    let device = std::fs::symlink_metadata(directory).map_err(TreeError::io(directory))?.dev();
    let mut packer = Packer {
        root: directory,
        device,
        which,
        limits,
        tar: Builder::new(BufWriter::with_capacity(1 << 18, output)),
        seen: HashMap::new(),
        packed: Packed::default(),
    };
    packer.directory(Path::new(""))?;
    let mut output = packer.tar.into_inner().map_err(TreeError::io(directory))?;
    output.flush().map_err(TreeError::io(directory))?;
    Ok(packer.packed)
}

struct Packer<'a, W: Write> {
    root: &'a Path,
    device: u64,
    which: Which,
    limits: TreeLimits,
    tar: Builder<BufWriter<W>>,
    /// Files with several names: where the first one was packed.
    seen: HashMap<u64, PathBuf>,
    packed: Packed,
}

impl<W: Write> Packer<'_, W> {
    /// Packs what is in a directory; says whether there was anything.
    fn directory(&mut self, name: &Path) -> Result<bool, TreeError> {
        let path = self.root.join(name);
        let mut any = false;
        if self.which == Which::Upper && xattr(&path, "trusted.overlay.opaque").is_some_and(|value| value == b"y") {
            self.mark(&name.join(OPAQUE))?;
            any = true;
        }
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>())
            .map_err(TreeError::io(&path))?;
        names.sort();
        for entry in names {
            any |= self.entry(&name.join(entry))?;
        }
        Ok(any)
    }

    fn entry(&mut self, name: &Path) -> Result<bool, TreeError> {
        let path = self.root.join(name);
        let metadata = std::fs::symlink_metadata(&path).map_err(TreeError::io(&path))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.subdirectory(name, &metadata);
        }
        if kind.is_char_device() && metadata.rdev() == 0 && self.which == Which::Upper {
            let deleted = format!("{WHITEOUT}{}", name.file_name().unwrap_or_default().to_string_lossy());
            return self.mark(&name.with_file_name(deleted)).map(|()| true);
        }
        if kind.is_char_device() || kind.is_block_device() {
            return match self.which {
                Which::Upper => Err(TreeError::Device(path.display().to_string())),
                Which::All | Which::ChangedSince(_) => Ok(false),
            };
        }
        if kind.is_socket() || !self.is_wanted(&metadata) {
            return Ok(false);
        }
        self.count(name, if kind.is_file() { metadata.len() } else { 0 })?;
        if metadata.nlink() > 1 && kind.is_file() {
            if let Some(first) = self.seen.get(&metadata.ino()).cloned() {
                let mut header = header(&metadata, EntryType::Link);
                self.tar.append_link(&mut header, name, first).map_err(TreeError::io(&path))?;
                return Ok(true);
            }
            self.seen.insert(metadata.ino(), name.to_owned());
        }
        self.file(name, &path, &metadata)?;
        Ok(true)
    }

    fn file(&mut self, name: &Path, path: &Path, metadata: &Metadata) -> Result<(), TreeError> {
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let to = std::fs::read_link(path).map_err(TreeError::io(path))?;
            let mut header = header(metadata, EntryType::Symlink);
            return self.tar.append_link(&mut header, name, to).map_err(TreeError::io(path));
        }
        self.xattrs(path)?;
        if kind.is_fifo() {
            let mut header = header(metadata, EntryType::Fifo);
            return self.tar.append_data(&mut header, name, io::empty()).map_err(TreeError::io(path));
        }
        let mut header = header(metadata, EntryType::Regular);
        header.set_size(metadata.len());
        let file = File::open(path).map_err(TreeError::io(path))?;
        self.tar.append_data(&mut header, name, file).map_err(TreeError::io(path))
    }

    /// A directory comes before its content, unless nothing in it is wanted and it has not changed itself.
    fn subdirectory(&mut self, name: &Path, metadata: &Metadata) -> Result<bool, TreeError> {
        let path = self.root.join(name);
        if metadata.dev() != self.device {
            // A mount point. It is needed as such, its content is not.
            return if self.which == Which::All { self.directory_itself(name, &path, metadata).map(|()| true) } else { Ok(false) };
        }
        if matches!(self.which, Which::ChangedSince(_)) && !self.is_wanted(metadata) {
            return self.directory(name);
        }
        self.directory_itself(name, &path, metadata)?;
        self.directory(name)?;
        Ok(true)
    }

    fn directory_itself(&mut self, name: &Path, path: &Path, metadata: &Metadata) -> Result<(), TreeError> {
        self.count(name, 0)?;
        self.xattrs(path)?;
        let mut header = header(metadata, EntryType::Directory);
        self.tar.append_data(&mut header, name, io::empty()).map_err(TreeError::io(path))
    }

    fn is_wanted(&self, metadata: &Metadata) -> bool {
        let Which::ChangedSince(since) = self.which else { return true };
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (metadata.ctime(), metadata.ctime_nsec()) >= (since.as_secs().cast_signed(), i64::from(since.subsec_nanos()))
    }

    /// An empty member whose name is all it says.
    fn mark(&mut self, name: &Path) -> Result<(), TreeError> {
        self.count(name, 0)?;
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, name, io::empty()).map_err(TreeError::io(name))
    }

    fn xattrs(&mut self, path: &Path) -> Result<(), TreeError> {
        let found = xattrs(path);
        let records = found.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        if found.is_empty() { Ok(()) } else { self.tar.append_pax_extensions(records).map_err(TreeError::io(path)) }
    }

    fn count(&mut self, name: &Path, bytes: u64) -> Result<(), TreeError> {
        self.packed.entries += 1;
        self.packed.bytes += bytes;
        let too_large = |what, limit| TreeError::TooLarge { what, limit, path: name.display().to_string() };
        if self.packed.entries > self.limits.entries_max {
            return Err(too_large("the number of entries", self.limits.entries_max));
        }
        if self.packed.bytes > self.limits.bytes_max {
            return Err(too_large("the sum of the files in bytes", self.limits.bytes_max));
        }
        Ok(())
    }
}

fn header(metadata: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(metadata.mtime().try_into().unwrap_or(0));
    header
}

/// The attributes that travel: what the container sees, not what the overlay keeps for itself.
fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = [0_u8; 4096];
    // A file system without attributes answers with an error.
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    names[..length]
        .split(|byte| *byte == 0)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| name.starts_with("user.") || *name == "security.capability")
        .filter_map(|name| Some((format!("{PAX_XATTR}{name}"), xattr(path, name)?)))
        .collect()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0_u8; 4096];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

/// Sets what [`xattrs`] found.
pub(super) fn set_xattr(file: &impl std::os::fd::AsFd, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
}
