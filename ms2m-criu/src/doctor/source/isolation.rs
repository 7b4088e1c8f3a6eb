//! Namespaces.

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    let mut checks = vec![pids(subject)];
    checks.extend(users(subject));
    checks
}

/// CRIU makes the pid namespace of the first process again, and no other.
fn pids(subject: &Subject) -> Check {
    const NAME: &str = "pid-namespace";
    let of = |process: &super::tree::Process, kind: &str| process.namespaces.get(kind).cloned();
    let first = &subject.processes[0];
    let own = of(first, "pid");
    if own.is_none() {
        return Check::unknown(NAME, format!("/proc/{}/ns cannot be read", subject.pid)).remedy("run as root");
    }
    let nested: Vec<_> = subject
        .processes
        .iter()
        .filter(|process| of(process, "pid") != own || of(process, "pid_for_children").is_some_and(|children| Some(children) != own))
        .map(super::tree::Process::name)
        .collect();
    if !nested.is_empty() {
        return Check::fail(NAME, format!("processes in or before another pid namespace: {}; CRIU carries one level only", some(&nested)))
            .remedy("do without containers inside of the container");
    }
    if subject.container.is_some() && own == subject.our_namespaces.get("pid").cloned() {
        return Check::fail(NAME, "the container shares its process ids with the machine, where its copy cannot have the same ones")
            .remedy("give it a pid namespace of its own (no `hostPID: true` in a pod)");
    }
    let init = first.status.nspid.as_ref().and_then(|ids| ids.last()).copied();
    if own != subject.our_namespaces.get("pid").cloned() && init != Some(1) {
        return Check::fail(NAME, format!("process {} is in a pid namespace of its own, but not its first process", first.name()))
            .remedy("name the first process of that namespace, or the container");
    }
    Check::ok(
        NAME,
        if init == Some(1) {
            "one of its own, with its first process"
        } else {
            "that of this machine; the copy gets one of its own, with the same process ids"
        },
    )
}

fn users(subject: &Subject) -> Option<Check> {
    let theirs = subject.processes[0].namespaces.get("user")?;
    let ours = subject.our_namespaces.get("user")?;
    (theirs != ours).then(|| {
        Check::warn("user-namespace", "one of its own: files and ids are carried as seen inside")
            .remedy("the copy needs the same id maps, and a runtime that runs as root")
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Unknown, Warn};

    #[test]
    fn one_level_of_pid_namespaces_is_carried() {
        let tree = Tree::new();
        assert_eq!(pids(&tree.subject()).result, Unknown);
        tree.namespace(1, "pid", 1).namespace(10, "pid", 1);
        assert_eq!(pids(&tree.subject()).result, Ok);
        tree.process(11, 10, "Name:\tchild\n").namespace(11, "pid", 2);
        let failed = pids(&tree.subject());
        assert!(failed.result == Fail && failed.reason.contains("11 (child)"), "{failed}");
    }

    #[test]
    fn the_first_process_of_a_namespace_is_needed() {
        let tree = Tree::new();
        tree.namespace(1, "pid", 1).namespace(10, "pid", 2).process(10, 1, "NSpid:\t10\t4\n");
        assert_eq!(pids(&tree.subject()).result, Fail);
        tree.process(10, 1, "NSpid:\t10\t1\n");
        assert_eq!(pids(&tree.subject()).result, Ok);
        assert_eq!(pids(&tree.container("{}")).result, Ok);
        tree.namespace(10, "pid", 1);
        assert_eq!(pids(&tree.container("{}")).result, Fail);
    }

    #[test]
    fn a_user_namespace_is_told() {
        let tree = Tree::new();
        tree.namespace(1, "user", 1).namespace(10, "user", 1);
        assert!(users(&tree.subject()).is_none());
        tree.namespace(10, "user", 2);
        assert_eq!(users(&tree.subject()).unwrap().result, Warn);
    }
}
