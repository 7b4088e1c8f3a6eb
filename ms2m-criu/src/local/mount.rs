//! Mounts on this machine, undone without trace.

use std::ffi::CString;
use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::mount::{MountFlags, UnmountFlags};

/// An overlay of `lower` (topmost first) at `target`.
pub(super) fn overlay(lower: &[impl AsRef<Path>], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let lower: Vec<_> = lower.iter().map(|path| path.as_ref().display().to_string()).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    mount("overlay", "overlay", target, MountFlags::empty(), &options).map_err(|error| {
        error.with("hint", "the work directory must lie on a file system that can be an overlay's upper one, such as ext4, xfs or tmpfs")
    })
}

/// A new tmpfs at `target`.
pub(super) fn tmpfs(options: &str, flags: MountFlags, target: &Path) -> Result<()> {
    mount("tmpfs", "tmpfs", target, flags, options)
}

fn mount(source: &str, kind: &str, target: &Path, flags: MountFlags, options: &str) -> Result<()> {
    let invalid = |_| Error::fatal(ErrorKind::Invalid, "a mount option holds a zero byte");
    let options = CString::new(options).map_err(invalid)?;
    rustix::mount::mount(source, target, kind, flags, options.as_c_str()).map_err(|error| {
        Error::undo(ErrorKind::Other, format!("the {kind} for the copy cannot be mounted")).with("at", target.display()).caused_by(error)
    })
}

/// Whether `path` is where something is mounted.
pub(super) fn is_mounted(path: &Path) -> Result<bool> {
    Ok(mounted()?.iter().any(|mount| mount == path))
}

/// Unmounts everything at and below `path`, topmost first. Missing is fine.
pub(crate) fn detach_below(path: &Path) -> Result<()> {
    let mut mounts: Vec<_> = mounted()?.into_iter().filter(|mount| mount.starts_with(path)).collect();
    mounts.reverse();
    mounts.iter().try_for_each(|mount| match rustix::mount::unmount(mount.as_path(), UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => {
            Err(Error::retry(ErrorKind::Other, "a mount of the copy cannot be removed").with("at", mount.display()).caused_by(error))
        }
    })
}

fn mounted() -> Result<Vec<std::path::PathBuf>> {
    let cannot = |error: procfs::ProcError| Error::retry(ErrorKind::Other, "this machine's mounts cannot be read").caused_by(error);
    let mounts = procfs::process::Process::myself().and_then(|process| process.mountinfo()).map_err(cannot)?;
    Ok(mounts.into_iter().map(|mount| mount.mount_point).collect())
}
