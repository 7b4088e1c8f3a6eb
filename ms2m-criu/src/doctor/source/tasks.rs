//! Tasks that cannot be seized or frozen, and strangers among them.

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    vec![traced(subject), waiting(subject), strangers(subject), seccomp(subject)]
}

fn traced(subject: &Subject) -> Check {
    let found: Vec<_> = subject.processes.iter().filter_map(|process| Some(format!("{} by {}", process.name(), process.tracer?))).collect();
    if found.is_empty() {
        return Check::ok("traced", "nobody traces it");
    }
    Check::fail("traced", format!("traced: {}; only one can, and CRIU must", some(&found))).remedy("detach the debugger or strace")
}

fn waiting(subject: &Subject) -> Check {
    let found: Vec<_> = subject
        .processes
        .iter()
        .flat_map(|process| process.uninterruptible.iter().map(|id| format!("{id} ({})", process.status.name)))
        .collect();
    if found.is_empty() {
        return Check::ok("uninterruptible", "no task waits for a disk or a network file system");
    }
    Check::warn("uninterruptible", format!("in state D at this moment: {}; while they are, they cannot be frozen", some(&found)))
        .remedy("look again; if they stay, a disk or a network file system hangs")
}

/// What `runc exec` starts is in the container, but not a descendant of its first process.
fn strangers(subject: &Subject) -> Check {
    const NAME: &str = "exec-sessions";
    if subject.strangers.is_empty() {
        return Check::ok(NAME, "no process in here that is not a descendant of the first");
    }
    let found: Vec<_> = subject.strangers.iter().map(ToString::to_string).collect();
    Check::warn(
        NAME,
        format!(
            "in the same pid namespace, but no descendants of process {}: {}; they are not carried, and can make CRIU refuse",
            subject.pid,
            some(&found)
        ),
    )
    .remedy("end `exec` sessions before the checkpoint")
}

fn seccomp(subject: &Subject) -> Check {
    let filtered = subject.processes.iter().filter(|process| process.status.seccomp == Some(2)).count();
    match filtered {
        0 => Check::ok("seccomp", "no filters"),
        count => {
            Check::ok("seccomp", format!("{count} processes under a filter, which is carried; a filter that notifies a supervisor is not"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Warn};

    #[test]
    fn a_traced_process_fails_and_names_its_tracer() {
        let tree = Tree::new();
        assert_eq!(traced(&tree.subject()).result, Ok);
        tree.process(11, 10, "Name:\tchild\nTracerPid:\t55\n");
        let failed = traced(&tree.subject());
        assert!(failed.result == Fail && failed.reason.contains("11 (child) by 55"), "{failed}");
    }

    #[test]
    fn a_thread_in_state_d_is_told() {
        let tree = Tree::new();
        assert_eq!(waiting(&tree.subject()).result, Ok);
        tree.thread(10, 12, "State:\tD (disk sleep)\n");
        assert!(waiting(&tree.subject()).reason.contains("12 (subject)"));
    }

    #[test]
    fn an_exec_session_is_told() {
        let tree = Tree::new();
        tree.namespace(10, "pid", 5);
        tree.process(30, 2, "Name:\tstranger\n").namespace(30, "pid", 5).process(31, 2, "Name:\tother\n").namespace(31, "pid", 6);
        assert_eq!(strangers(&tree.subject()).result, Ok, "a process's neighbours are none of its business");
        let subject = tree.container("{}");
        assert_eq!((strangers(&subject).result, subject.strangers.as_slice()), (Warn, [30].as_slice()));
    }

    #[test]
    fn filters_are_counted() {
        let tree = Tree::new();
        assert_eq!(seccomp(&tree.subject()).reason, "no filters");
        tree.process(11, 10, "Seccomp:\t2\n");
        assert!(seccomp(&tree.subject()).reason.starts_with("1 processes"));
    }
}
