//! From a tar file to a directory.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use tar::{Archive, Entry, EntryType};

use super::pack::set_xattr;
use super::{OPAQUE, PAX_XATTR, TreeError, TreeLimits, WHITEOUT};

/// Unpacks a tree into `directory`, over what is there. No name and no link on the way leads out of it.
///
/// # Errors
/// See [`TreeError`]. What was unpacked until then stays: the caller discards the whole directory.
pub fn unpack(directory: &Path, limits: TreeLimits, input: impl Read) -> Result<(), TreeError> {
    let root = rustix::fs::open(directory, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(io::Error::from)
        .map_err(TreeError::io(directory))?;
    let mut archive = Archive::new(input);
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    // A directory's time changes with what is put into it, so times come last.
    let mut times = Vec::new();
    for entry in archive.entries().map_err(TreeError::io(directory))? {
        let mut entry = entry.map_err(TreeError::io(directory))?;
        let name = entry.path().map_err(TreeError::io(directory))?.into_owned();
        bytes = bytes.saturating_add(entry.size());
        entries += 1;
        let too_large = |what, limit| TreeError::TooLarge { what, limit, path: name.display().to_string() };
        if entries > limits.entries_max {
            return Err(too_large("the number of entries", limits.entries_max));
        }
        if bytes > limits.bytes_max {
            return Err(too_large("the sum of the files in bytes", limits.bytes_max));
        }
        if name.as_os_str().is_empty() || !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(TreeError::Outside(name.display().to_string()));
        }
        let parent = Parent::open(&root, name.parent().unwrap_or(Path::new(""))).map_err(TreeError::io(&name))?;
        let Some(last) = name.file_name() else { return Err(TreeError::Outside(name.display().to_string())) };
        if last == OPAQUE {
            parent.empty().map_err(TreeError::io(&name))?;
        } else if let Some(deleted) = last.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            if deleted.is_empty() || deleted == b"." || deleted == b".." {
                return Err(TreeError::Outside(name.display().to_string()));
            }
            parent.remove(OsStr::from_bytes(deleted)).map_err(TreeError::io(&name))?;
        } else {
            parent.make(&root, last, &mut entry)?;
            if entry.header().entry_type() == EntryType::Directory {
                times.push((name, mtime(&entry)));
            }
        }
    }
    for (name, time) in times.into_iter().rev() {
        let parent = Parent::open(&root, name.parent().unwrap_or(Path::new(""))).map_err(TreeError::io(&name))?;
        let last = name.file_name().unwrap_or_default();
        rustix::fs::utimensat(&parent.0, last, &time, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from).map_err(TreeError::io(&name))?;
    }
    Ok(())
}

/// A directory inside of the tree.
struct Parent(OwnedFd);

impl Parent {
    fn open(root: &OwnedFd, name: &Path) -> io::Result<Self> {
        let name = if name.as_os_str().is_empty() { Path::new(".") } else { name };
        Ok(Self(beneath(root, name, OFlags::DIRECTORY | OFlags::RDONLY)?))
    }

    fn make<R: Read>(&self, root: &OwnedFd, name: &OsStr, entry: &mut Entry<'_, R>) -> Result<(), TreeError> {
        let header = entry.header();
        let kind = header.entry_type();
        let fail = || TreeError::io(Path::new(name));
        let mode = Mode::from_raw_mode(header.mode().map_err(fail())? & 0o7777);
        let owner = (id(header.uid()).map_err(fail())?, id(header.gid()).map_err(fail())?);
        let time = mtime(entry);
        if kind != EntryType::Directory {
            self.remove(name).map_err(fail())?;
        }
        match kind {
            EntryType::Directory => self.directory(name).map_err(fail())?,
            EntryType::Regular => self.file(name, entry).map_err(fail())?,
            EntryType::Symlink => {
                let to = entry.link_name_bytes().unwrap_or_default().into_owned();
                rustix::fs::symlinkat(OsStr::from_bytes(&to), &self.0, name).map_err(io::Error::from).map_err(fail())?;
            }
            EntryType::Link => return self.link(root, name, entry),
            EntryType::Fifo => {
                rustix::fs::mknodat(&self.0, name, FileType::Fifo, mode, 0).map_err(io::Error::from).map_err(fail())?;
            }
            _ => return Err(TreeError::Kind(name.display().to_string())),
        }
        self.dress(name, kind, mode, owner, entry).map_err(fail())?;
        if kind != EntryType::Directory {
            rustix::fs::utimensat(&self.0, name, &time, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from).map_err(fail())?;
        }
        Ok(())
    }

    fn directory(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => {
                let there = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                    return Ok(());
                }
                self.remove(name)?;
                Ok(rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn file<R: Read>(&self, name: &OsStr, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?;
        io::copy(entry, &mut std::fs::File::from(file)).map(drop)
    }

    /// A second name for a file of the same tree.
    fn link<R: Read>(&self, root: &OwnedFd, name: &OsStr, entry: &Entry<'_, R>) -> Result<(), TreeError> {
        let to = entry.link_name_bytes().unwrap_or_default().into_owned();
        let to = Path::new(OsStr::from_bytes(&to));
        if !to.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(TreeError::Outside(to.display().to_string()));
        }
        let fail = || TreeError::io(Path::new(name));
        let parent = Self::open(root, to.parent().unwrap_or(Path::new(""))).map_err(fail())?;
        let Some(last) = to.file_name() else { return Err(TreeError::Outside(to.display().to_string())) };
        rustix::fs::linkat(&parent.0, last, &self.0, name, AtFlags::empty()).map_err(io::Error::from).map_err(fail())
    }

    /// Owner first: changing it clears the set-user-id bit.
    fn dress<R: Read>(&self, name: &OsStr, kind: EntryType, mode: Mode, owner: (u32, u32), entry: &mut Entry<'_, R>) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::chownat(&self.0, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind == EntryType::Symlink {
            return Ok(());
        }
        rustix::fs::chmodat(&self.0, name, mode, AtFlags::empty())?;
        let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
        for extension in extensions {
            let extension = extension?;
            let attribute = extension.key().ok().and_then(|key| key.strip_prefix(PAX_XATTR).map(str::to_owned));
            if let Some(attribute) = attribute.filter(|name| name.starts_with("user.") || name == "security.capability") {
                let file = rustix::fs::openat(&self.0, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty())?;
                set_xattr(&file, &attribute, extension.value_bytes())?;
            }
        }
        Ok(())
    }

    /// Removes a name with all that is below it. Missing is fine.
    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(rustix::io::Errno::ISDIR) => {}
            Err(error) => return Err(error.into()),
        }
        Self(beneath(&self.0, Path::new(name), OFlags::DIRECTORY | OFlags::RDONLY)?).empty()?;
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    fn empty(&self) -> io::Result<()> {
        let names: Vec<_> =
            rustix::fs::Dir::read_from(&self.0)?.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<Result<_, _>>()?;
        let names = names.iter().map(|name| OsStr::from_bytes(name.to_bytes())).filter(|name| *name != "." && *name != "..");
        names.into_iter().try_for_each(|name| self.remove(name))
    }
}

/// A user or group. The highest number is none: to the kernel it says that the owner shall stay.
fn id(number: io::Result<u64>) -> io::Result<u32> {
    let number = number?;
    let id = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("there is no owner {number}")))
}

fn beneath(directory: &OwnedFd, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(directory, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

fn mtime<R: Read>(entry: &Entry<'_, R>) -> Timestamps {
    let seconds = entry.header().mtime().unwrap_or(0).try_into().unwrap_or(0);
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
