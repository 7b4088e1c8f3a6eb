//! TCP connections: with whom, and what becomes of them.

use procfs::net::{TcpNetEntry, TcpState};

use super::subject::{Subject, some};
use crate::check::Check;

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    let sockets = subject.sockets();
    let ours: Vec<_> = subject.tcp.iter().filter(|entry| entry.inode != 0 && sockets.contains(&entry.inode)).collect();
    let mut checks = vec![connections(subject, &ours)];
    checks.extend(in_flight(subject, &ours));
    checks
}

fn connections(subject: &Subject, ours: &[&TcpNetEntry]) -> Check {
    const NAME: &str = "tcp";
    let open: Vec<&TcpNetEntry> =
        ours.iter().copied().filter(|entry| !matches!(entry.state, TcpState::Listen | TcpState::Close | TcpState::TimeWait)).collect();
    let inside = |entry: &TcpNetEntry| {
        ours.iter().any(|other| other.local_address == entry.remote_address && other.remote_address == entry.local_address)
    };
    let (internal, external): (Vec<&TcpNetEntry>, Vec<&TcpNetEntry>) = open.iter().copied().partition(|entry| inside(entry));
    if open.is_empty() {
        let listening = ours.iter().filter(|entry| entry.state == TcpState::Listen).count();
        return Check::ok(NAME, format!("no connections, {listening} listening sockets"));
    }
    let peers: Vec<_> = external.iter().map(|entry| entry.remote_address.to_string()).collect();
    let mut parts = Vec::new();
    if !external.is_empty() {
        parts.push(format!("{} with {}", external.len(), some(&peers)));
    }
    if !internal.is_empty() {
        parts.push(format!("{} ends between processes in here", internal.len()));
    }
    let found = format!("connections: {}", parts.join(", "));
    if subject.config.has("tcp-established") {
        return Check::warn(
            NAME,
            format!("{found}; tcp-established: the copy gets them alive, which breaks them where source and copy both run"),
        )
        .remedy("use tcp-close instead unless the source ends with the checkpoint and its address moves along");
    }
    if subject.config.has("tcp-close") {
        let remedy = "the program must connect again by itself, as it would after a network failure";
        return Check::warn(NAME, format!("{found}: the source keeps them, they come up closed in the copy")).remedy(remedy);
    }
    Check::fail(NAME, format!("{found}; CRIU refuses established connections as it is configured")).remedy(format!(
        "write the lines `tcp-close` and `skip-in-flight` to {}: they then come up closed in the copy, and the source keeps them",
        subject.config_file()
    ))
}

/// Connections that are being made: CRIU waits for nobody.
fn in_flight(subject: &Subject, ours: &[&TcpNetEntry]) -> Option<Check> {
    let waiting = |entry: &&&TcpNetEntry| entry.state == TcpState::Listen && entry.rx_queue > 0;
    let making = |entry: &&&TcpNetEntry| matches!(entry.state, TcpState::SynSent | TcpState::SynRecv);
    let found: Vec<_> = ours.iter().filter(|entry| waiting(entry) || making(entry)).map(|entry| entry.local_address.to_string()).collect();
    if found.is_empty() || subject.config.has("skip-in-flight") {
        return None;
    }
    Some(
        Check::warn(
            "tcp-in-flight",
            format!("connections that are being made or wait for accept, at {}: CRIU refuses them while they are", some(&found)),
        )
        .remedy(format!("write the line `skip-in-flight` to {}; the peer then connects again", subject.config_file())),
    )
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Warn};
    use crate::doctor::config::Config;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(local: &str, remote: &str, state: &str, waiting: u32, inode: u32) -> String {
        format!(
            "   0: {local} {remote} {state} 00000000:{waiting:08X} 00:00000000 00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
        )
    }

    #[test]
    fn a_connection_fails_without_a_rule_for_it_and_names_its_peer() {
        let tree = Tree::new();
        tree.fd(10, 3, "socket:[77]", "");
        // 10.77.0.1:5672; the second one belongs to somebody else.
        tree.tcp(
            10,
            &[HEAD, &line("0100007F:1000", "01004D0A:1628", "01", 0, 77), &line("0100007F:1001", "01004D0A:1628", "01", 0, 78)].concat(),
        );
        let mut subject = tree.container("{}");
        let failed = &checks(&subject)[0];
        assert!(failed.result == Fail && failed.reason.contains("1 with 10.77.0.1:5672"), "{failed}");
        assert!(failed.remedy.as_ref().unwrap().contains("/etc/criu/runc.conf"));
        subject.config = Config::parse("tcp-close");
        assert_eq!(checks(&subject)[0].result, Warn);
        subject.config = Config::parse("tcp-established");
        assert!(checks(&subject)[0].remedy.as_ref().unwrap().contains("tcp-close"));
    }

    #[test]
    fn listening_is_fine_and_a_connection_in_here_is_told_apart() {
        let tree = Tree::new();
        tree.fd(10, 3, "socket:[77]", "").fd(10, 4, "socket:[78]", "").fd(10, 5, "socket:[79]", "");
        let listen = line("00000000:1000", "00000000:0000", "0A", 0, 77);
        tree.tcp(10, &[HEAD, &listen].concat());
        assert_eq!(checks(&tree.container("{}"))[0].result, Ok);
        let pair = [line("0100007F:1000", "0100007F:2000", "01", 0, 78), line("0100007F:2000", "0100007F:1000", "01", 0, 79)].concat();
        tree.tcp(10, &[HEAD, &listen, &pair].concat());
        assert!(checks(&tree.container("{}"))[0].reason.contains("2 ends between processes in here"));
    }

    #[test]
    fn connections_that_wait_for_accept_are_told() {
        let tree = Tree::new();
        tree.fd(10, 3, "socket:[77]", "").tcp(10, &[HEAD, &line("00000000:1000", "00000000:0000", "0A", 1, 77)].concat());
        let mut subject = tree.container("{}");
        assert_eq!(checks(&subject)[1].result, Warn);
        subject.config = Config::parse("skip-in-flight");
        assert_eq!(checks(&subject).len(), 1);
    }
}
