//! The copy's host name. CRIU gives it the source's.

use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::thread::LinkNameSpaceType;

use super::namespace::within;

/// Sets the host name in the UTS namespace of a process.
pub(super) fn set(pid: i32, name: &str) -> Result<()> {
    let name = name.to_owned();
    let set = move || Ok(rustix::system::sethostname(name.as_bytes())?);
    within(Path::new(&format!("/proc/{pid}/ns/uts")), LinkNameSpaceType::HostNameAndNISDomainName, set)
        .map_err(|error| Error::undo(ErrorKind::Other, "the copy's host name cannot be set").caused_by(error))
}
