//! File locks and leases.

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "file-locks";
    let held: Vec<_> = subject.descriptors().filter(|one| !one.locks.is_empty()).collect();
    if held.is_empty() {
        return Check::ok(NAME, "none held");
    }
    // `1: FLOCK  ADVISORY  WRITE 17 fe:01:42 0 EOF`
    let kind = |lock: &str| lock.split_whitespace().nth(1).unwrap_or("lock").to_owned();
    let shown: Vec<_> = held.iter().map(|one| format!("{} on {} ({})", kind(&one.locks[0]), one.target, one.place())).collect();
    let reason = format!("held: {}", some(&shown));
    if subject.config.has("file-locks") {
        return Check::warn(NAME, format!("{reason}; file-locks: the copy takes them again, on its own file system"))
            .remedy("if the file is on shared storage, the source must have let go before the copy comes up");
    }
    Check::fail(NAME, format!("{reason}; CRIU refuses that as it is configured"))
        .remedy(format!("write `file-locks` to {}, or let the program release the lock", subject.config_file()))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Warn};
    use crate::doctor::config::Config;

    #[test]
    fn a_lock_is_named_with_its_file() {
        let tree = Tree::new();
        tree.fd(10, 3, "/data/db", "pos:\t0\nmnt_id:\t20\n");
        assert_eq!(check(&tree.subject()).result, Ok);
        tree.fd(10, 3, "/data/db", "pos:\t0\nmnt_id:\t20\nlock:\t1: FLOCK  ADVISORY  WRITE 10 fe:01:42 0 EOF\n");
        let mut subject = tree.container("{}");
        let failed = check(&subject);
        assert!(failed.result == Fail && failed.reason.contains("FLOCK on /data/db (descriptor 3 of process 10)"), "{failed}");
        subject.config = Config::parse("file-locks");
        assert_eq!(check(&subject).result, Warn);
    }
}
