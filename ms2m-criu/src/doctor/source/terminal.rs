//! Terminals, and sessions that begin outside.

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "terminal";
    if subject
        .container
        .as_ref()
        .is_some_and(|container| container.spec.pointer("/process/terminal").and_then(serde_json::Value::as_bool) == Some(true))
    {
        return Check::fail(NAME, "the container has a terminal (`terminal: true`): nobody holds its other end at the copy")
            .remedy("start it without one: no -t and no -i, `tty: false` and `stdin: false` in a pod");
    }
    let open: Vec<_> = subject
        .descriptors()
        .filter(|one| {
            one.path().is_some_and(|path| {
                path.starts_with("/dev/pts/") || path == "/dev/tty" || path == "/dev/console" || path.starts_with("/dev/tty")
            })
        })
        .map(|one| format!("{} ({})", one.target, one.place()))
        .collect();
    let controlled = subject.processes.iter().find(|process| process.terminal != 0);
    let session = subject.processes.iter().find(|process| leads_outside(subject, process));
    let allowed = subject.config.has("shell-job");
    let found = match (open.is_empty(), controlled.or(session)) {
        (false, _) => format!("on a terminal: {}", some(&open)),
        (true, Some(process)) if process.terminal != 0 => format!("process {} has a controlling terminal", process.name()),
        (true, Some(process)) => format!("process {} belongs to a session that was begun outside", process.name()),
        (true, None) => return Check::ok(NAME, "none"),
    };
    if allowed {
        return Check::warn(NAME, format!("{found}; shell-job: the copy comes up on the terminal of the restore"))
            .remedy("start it without a terminal");
    }
    Check::fail(NAME, format!("{found}; CRIU refuses that as it is configured"))
        .remedy(format!("start it detached: `setsid PROGRAM </dev/null >LOG 2>&1 &`; or write `shell-job` to {}", subject.config_file()))
}

/// CRIU restores sessions from their leaders, so these must be among the processes. In a pid namespace of one's own, a leader from outside
/// is shown as 0.
fn leads_outside(subject: &Subject, process: &super::tree::Process) -> bool {
    let Some(session) = process.status.nssid.as_ref().and_then(|ids| ids.last()) else { return false };
    let ids = subject.processes.iter().filter_map(|process| process.status.nspid.as_ref()?.last());
    !ids.into_iter().any(|id| id == session)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Warn};
    use crate::doctor::config::Config;

    #[test]
    fn a_terminal_fails_in_a_container_and_on_a_descriptor() {
        let tree = Tree::new();
        assert_eq!(check(&tree.subject()).result, Ok);
        assert_eq!(check(&tree.container(r#"{"process": {"terminal": true}}"#)).result, Fail);
        assert_eq!(check(&tree.container(r#"{"process": {"terminal": false}}"#)).result, Ok);
        let mut subject = tree.fd(10, 0, "/dev/pts/3", "").subject();
        assert!(check(&subject).reason.contains("/dev/pts/3"));
        subject.config = Config::parse("shell-job");
        assert_eq!(check(&subject).result, Warn);
    }

    #[test]
    fn a_session_from_outside_fails() {
        let tree = Tree::new();
        tree.process(10, 1, "Name:\tsleeper\nNSsid:\t9\n");
        let failed = check(&tree.subject());
        assert!(failed.result == Fail && failed.remedy.unwrap().contains("setsid"));
    }
}
