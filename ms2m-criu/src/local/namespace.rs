//! Work in a namespace that this process is not in.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::LinkNameSpaceType;

/// Does `work` in the namespace at `path`, and in the ones that this process is in otherwise. What `work` starts is there, too.
pub(super) fn within<T: Send + 'static>(
    path: &Path,
    kind: LinkNameSpaceType,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_owned();
    // Namespaces are a thread's: one of its own, so that nothing else of this process is in the wrong one.
    let thread = std::thread::spawn(move || {
        let namespace = File::open(path)?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))?;
        work()
    });
    thread.join().map_err(|_| io::Error::other("a thread has died"))?
}
