//! What connections of a copy wanted to send while they were locked.
//!
//! TCP was refused by the locked interface, and would try again when its timer goes off: after 3 s, because a restored connection knows
//! nothing of its round trip. Taking a cork out of a socket that has none does nothing but send what waits.

use std::collections::BTreeSet;

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

/// Lets the connections of these processes send at once. What has ended or is no connection is left out; nothing depends on it.
pub(crate) fn push(processes: &[i32]) {
    let mut done = BTreeSet::new();
    for &process in processes {
        let Some(pid) = Pid::from_raw(process) else { continue };
        let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
        for entry in std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(link) = std::fs::read_link(entry.path()) else { continue };
            if !link.to_string_lossy().starts_with("socket:") || !done.insert(link) {
                continue;
            }
            if let Ok(socket) = rustix::process::pidfd_getfd(&handle, fd, PidfdGetfdFlags::empty())
                && sockopt::tcp_cork(&socket) == Ok(false)
            {
                let _ = sockopt::set_tcp_cork(&socket, false);
            }
        }
    }
}
