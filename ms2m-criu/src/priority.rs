//! Who goes first while a container stands still.

use rustix::process::{Pid, setpriority_process};

/// Before whatever has no priority of its own, behind what the machine itself depends on.
const NICE: i32 = -10;

/// Lets a process go first with the children that it will have, where this one may do that. The restored are not among them: CRIU gives each the
/// priority that it had.
pub(crate) fn hurry(pid: Option<u32>) {
    if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
        let _ = setpriority_process(Some(pid), NICE);
    }
}
