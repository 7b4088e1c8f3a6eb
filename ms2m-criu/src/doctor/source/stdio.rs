//! Files that lie outside of what the process can see.

use std::collections::BTreeSet;

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "outside-files";
    let mounts: BTreeSet<_> = subject.mounts.iter().map(|mount| mount.mnt_id).collect();
    let outside: Vec<_> = subject
        .descriptors()
        .filter(|one| one.path().is_some_and(|path| !path.starts_with("/memfd:") && !path.starts_with("/dev/pts/")))
        .filter(|one| one.mount.is_some_and(|mount| !mounts.contains(&mount)))
        .map(|one| format!("{} ({})", one.target, one.place()))
        .collect();
    if !outside.is_empty() {
        return Check::fail(
            NAME,
            format!("open, but on no mount that the process sees (CRIU: \"Can't lookup mount\"): {}", some(&outside)),
        )
        .remedy("start it with standard input, output and error on pipes, /dev/null or files inside of the container, and nothing else inherited");
    }
    let pipes = subject
        .descriptors()
        .filter(|one| one.number <= 2 && one.target.starts_with("pipe:"))
        .map(|one| one.target.as_str())
        .collect::<BTreeSet<_>>();
    if !pipes.is_empty() && subject.container.is_none() {
        return Check::warn(
            NAME,
            format!("standard streams are {} pipes, whose other ends stay behind: the copy sees their end, or a broken pipe", pipes.len()),
        )
        .remedy("start it with standard streams on /dev/null or files");
    }
    Check::ok(NAME, "every open file is on a mount that the process sees")
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Warn};

    #[test]
    fn a_log_outside_of_the_container_fails() {
        let tree = Tree::new();
        tree.fd(10, 0, "/dev/null", "mnt_id:\t20\n").fd(10, 1, "pipe:[5]", "mnt_id:\t15\n").fd(10, 3, "/data/x", "mnt_id:\t20\n");
        assert_eq!(check(&tree.container("{}")).result, Ok);
        assert_eq!(check(&tree.subject()).result, Warn);
        tree.fd(10, 0, "/dev/null", "mnt_id:\t99\n");
        assert_eq!(check(&tree.container("{}")).result, Fail, "CRIU makes no exception for it; runtimes open the container's own");
        tree.fd(10, 2, "/var/log/x", "mnt_id:\t99\n");
        let failed = check(&tree.container("{}"));
        assert!(failed.result == Fail && failed.reason.contains("/var/log/x (descriptor 2"), "{failed}");
    }
}
