//! Watches on files.

use super::subject::Subject;
use crate::check::Check;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "watches";
    let watches: usize = subject.descriptors().map(|one| one.watches).sum();
    let holders: Vec<_> = subject.descriptors().filter(|one| one.watches > 0).map(|one| one.pid).collect();
    if watches == 0 {
        return Check::ok(NAME, "no inotify or fanotify watches");
    }
    let first = holders[0];
    Check::warn(NAME, format!("{watches} inotify or fanotify watches (process {first}): CRIU must find each watched file again by its handle, which overlay file systems often cannot"))
        .remedy("if a trial checkpoint fails over them, write `force-irmap` and `irmap-scan-path DIR` to CRIU's configuration, or turn the watching off")
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Ok, Warn};

    #[test]
    fn watches_are_counted() {
        let tree = Tree::new();
        tree.fd(10, 5, "anon_inode:inotify", "pos:\t0\nflags:\t02\n");
        assert_eq!(check(&tree.subject()).result, Ok);
        tree.fd(
            10,
            5,
            "anon_inode:inotify",
            "pos:\t0\ninotify wd:1 ino:9 sdev:800013 mask:800afce\ninotify wd:2 ino:8 sdev:800013 mask:8\n",
        );
        let warned = check(&tree.subject());
        assert!(warned.result == Warn && warned.reason.starts_with("2 "), "{warned}");
    }
}
