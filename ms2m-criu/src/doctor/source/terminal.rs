//! Terminals, and sessions that begin outside.

use serde_json::Value;

use super::container::Container;
use super::subject::{Subject, some};
use crate::check::Check;
use crate::doctor::config::Taker;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "terminal";
    let ours = subject.taker == Taker::Ms2m;
    let wanted = |container: &Container| container.spec.pointer("/process/terminal").and_then(Value::as_bool) == Some(true);
    if subject.container.as_ref().is_some_and(wanted) {
        let remedy = "start it without one: no -t and no -i, `tty: false` and `stdin: false` in a pod";
        let reason = "the container has a terminal (`terminal: true`)";
        return match ours {
            true => Check::fail(NAME, format!("{reason}: nobody holds its other end at the copy")).remedy(remedy),
            false => {
                Check::warn(NAME, format!("{reason}: the restore needs somebody who holds its other end (--console-socket)")).remedy(remedy)
            }
        };
    }
    let terminal = |path: &str| ["/dev/pts/", "/dev/tty", "/dev/console"].iter().any(|prefix| path.starts_with(prefix));
    let open: Vec<_> = subject
        .descriptors()
        .filter(|one| one.path().is_some_and(terminal))
        .map(|one| format!("{} ({})", one.target, one.place()))
        .collect();
    let outside = subject.processes.iter().find(|process| leads_outside(subject, process));
    let (found, refused) = match outside {
        _ if !open.is_empty() => (format!("on a terminal: {}", some(&open)), ours || !subject.config.has("shell-job")),
        Some(process) => {
            (format!("process {} belongs to a session that was begun outside", process.name()), !ours && !subject.config.has("shell-job"))
        }
        None => match subject.processes.iter().find(|process| process.terminal != 0) {
            Some(process) => (format!("process {} has a controlling terminal", process.name()), !subject.config.has("shell-job")),
            None => return Check::ok(NAME, "none"),
        },
    };
    let detached = "start it detached: `setsid PROGRAM </dev/null >LOG 2>&1 &`";
    match refused {
        true if ours => Check::fail(NAME, found).remedy(detached),
        true => Check::fail(NAME, format!("{found}; CRIU refuses that as it is configured"))
            .remedy(format!("{detached}; or write `shell-job` to {}", subject.config_file())),
        false => Check::warn(NAME, format!("{found}: the copy gets the session and terminal of the restore")).remedy(detached),
    }
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
        assert_eq!(check(&tree.container(r#"{"process": {"terminal": false}}"#)).result, Ok);
        let mut subject = tree.container(r#"{"process": {"terminal": true}}"#);
        assert_eq!(check(&subject).result, Warn);
        subject.taker = Taker::Ms2m;
        assert_eq!(check(&subject).result, Fail);
        let mut subject = tree.fd(10, 0, "/dev/pts/3", "").subject();
        let failed = check(&subject);
        assert!(failed.result == Fail && failed.reason.contains("/dev/pts/3"), "{failed}");
        subject.config = Config::parse("shell-job");
        assert_eq!(check(&subject).result, Warn);
        subject.taker = Taker::Ms2m;
        assert_eq!(check(&subject).result, Fail);
    }

    #[test]
    fn a_session_from_outside_is_carried_by_ms2m_only() {
        let tree = Tree::new();
        tree.process(10, 1, "Name:\tsleeper\nNSsid:\t9\n");
        let mut subject = tree.subject();
        let failed = check(&subject);
        assert!(failed.result == Fail && failed.remedy.as_ref().unwrap().contains("setsid"), "{failed}");
        subject.taker = Taker::Ms2m;
        assert_eq!(check(&subject).result, Warn);
    }
}
