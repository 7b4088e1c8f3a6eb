//! An agent in a pod works as the node itself: with the node's runtime, CRIU, cgroups and files, for which it moves into the mount namespace of the node's
//! first process.

use std::fs::File;
use std::os::fd::{AsFd as _, IntoRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces of the first process that are entered. The others a pod shares with its node by `hostPID` and `hostNetwork`.
const ENTERED: [(&str, LinkNameSpaceType); 2] = [("cgroup", LinkNameSpaceType::ControlGroup), ("mnt", LinkNameSpaceType::Mount)];

/// Moves this process there for good. To be called before there is another thread.
pub(crate) fn enter() -> Result<()> {
    let own = std::fs::metadata("/proc/self/ns/mnt").map_err(|error| cannot("mnt").caused_by(error))?;
    // Without it, what this pod has of its own would be gone, which is not so sure for files that are open still.
    let pod = File::open("/proc/self/ns/mnt").map_err(|error| cannot("mnt").caused_by(error))?;
    for (name, kind) in ENTERED {
        let first = File::open(format!("/proc/1/ns/{name}")).map_err(|error| cannot(name).caused_by(error))?;
        if name == "mnt" && first.metadata().is_ok_and(|first| first.ino() == own.ino()) {
            let message = "process 1 has the same files as this one: give the pod hostPID, or leave out --as-node outside of a pod";
            return Err(Error::fatal(ErrorKind::Invalid, message));
        }
        move_into_link_name_space(first.as_fd(), Some(kind)).map_err(|error| cannot(name).caused_by(error))?;
    }
    // Open for as long as this process lives.
    let _ = pod.into_raw_fd();
    Ok(())
}

fn cannot(namespace: &'static str) -> Error {
    let message = "the agent cannot work as its node; its pod needs hostPID, and its container must be privileged";
    Error::fatal(ErrorKind::Unauthorized, message).with("namespace", namespace)
}

/// By which name a file of the pod is found after [`enter`]: through its directory, which stays open.
pub(crate) fn reachable(file: &Path) -> Result<PathBuf> {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Error::fatal(ErrorKind::Invalid, "this is no file's name").with("file", file.display()));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let opened = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|error| {
        Error::fatal(ErrorKind::NotFound, "the directory of this file is not there").with("file", file.display()).caused_by(error)
    })?;
    Ok(Path::new("/proc/self/fd").join(opened.into_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_reachable_after_its_directory_has_another_name() {
        let root = tempfile::tempdir().unwrap();
        let (before, after) = (root.path().join("before"), root.path().join("after"));
        std::fs::create_dir(&before).unwrap();
        let name = reachable(&before.join("tls.crt")).unwrap();
        std::fs::rename(&before, &after).unwrap();
        std::fs::write(after.join("tls.crt"), "seen").unwrap();
        assert_eq!(std::fs::read_to_string(name).unwrap(), "seen");
        assert_eq!(reachable(&before.join("tls.crt")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
