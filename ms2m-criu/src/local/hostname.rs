//! The copy's host name. CRIU gives it the source's.

use std::fs::File;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::thread::LinkNameSpaceType;

/// Sets the host name in the UTS namespace of a process.
pub(super) fn set(pid: i32, name: &str) -> Result<()> {
    let (path, name) = (format!("/proc/{pid}/ns/uts"), name.to_owned());
    // Namespaces are a thread's: one of its own, so that nothing else of this process is in the wrong one.
    let set = std::thread::spawn(move || -> std::io::Result<()> {
        let namespace = File::open(path)?;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::HostNameAndNISDomainName))?;
        Ok(rustix::system::sethostname(name.as_bytes())?)
    });
    let failed = || Error::undo(ErrorKind::Other, "the copy's host name cannot be set");
    set.join().map_err(|_| failed())?.map_err(|error| failed().caused_by(error))
}
