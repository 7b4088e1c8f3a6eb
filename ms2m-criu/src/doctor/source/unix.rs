//! Unix sockets whose other end is outside.

use std::collections::BTreeMap;

use super::subject::{Subject, some};
use super::tool;
use crate::check::Check;

/// The other end of each connected unix socket in the network namespace of `pid`. `/proc` does not tell.
pub(super) async fn peers(pid: i32) -> Result<BTreeMap<u64, u64>, String> {
    let net = format!("--net=/proc/{pid}/ns/net");
    match tool::ask("nsenter", [net.as_str(), "ss", "-H", "-n", "-x", "-a"]).await {
        Ok(said) if said.success => Ok(parse(&said.out)),
        Ok(said) => Err(said.complaint().to_owned()),
        Err(error) => Err(format!("nsenter and ss: {error}")),
    }
}

/// `netid state recv send path inode path inode`; the last is 0 without a peer.
fn parse(lines: &str) -> BTreeMap<u64, u64> {
    let numbers = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        Some((words.get(5)?.parse().ok()?, words.get(7)?.parse().ok()?))
    };
    lines.lines().filter_map(numbers).filter(|(_, peer)| *peer != 0).collect()
}

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "unix-sockets";
    let sockets = subject.sockets();
    let ours: Vec<_> = subject.unix.iter().filter(|entry| sockets.contains(&entry.inode)).collect();
    let peers = match &subject.unix_peers {
        Ok(peers) => peers,
        Err(_) if ours.is_empty() => return Check::ok(NAME, "none"),
        Err(error) => {
            return Check::unknown(NAME, format!("{} sockets; where they lead cannot be found out: {error}", ours.len()))
                .remedy("install iproute2 and util-linux");
        }
    };
    let outside: Vec<_> = ours
        .iter()
        .filter_map(|entry| peers.get(&entry.inode).filter(|peer| !sockets.contains(peer)))
        .map(|peer| {
            let path = subject.unix.iter().find(|entry| entry.inode == *peer).and_then(|entry| entry.path.clone());
            path.map_or_else(|| format!("an unnamed socket ({peer})"), |path| path.display().to_string())
        })
        .collect();
    if outside.is_empty() {
        return Check::ok(NAME, format!("{} sockets, none connected to the outside", ours.len()));
    }
    let reason = format!("{} connected to somebody outside: {}", outside.len(), some(&outside));
    if subject.config.has("ext-unix-sk") {
        return Check::warn(NAME, format!("{reason}; ext-unix-sk: the copy connects to what has that name there"))
            .remedy("see that somebody listens there where the copy comes up");
    }
    Check::fail(NAME, format!("{reason}; CRIU refuses that as it is configured")).remedy(format!(
        "close the connection (for example to a log or name service daemon), or write `ext-unix-sk` to {}",
        subject.config_file()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Unknown, Warn};
    use crate::doctor::config::Config;

    const HEAD: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";
    const OURS: &str = "0000000000000000: 00000003 00000000 00000000 0001 03 77\n";
    const THEIRS: &str = "0000000000000000: 00000003 00000000 00000000 0001 03 90 /run/systemd/journal/stdout\n";

    #[test]
    fn a_peer_outside_is_named() {
        let tree = Tree::new();
        tree.fd(10, 3, "socket:[77]", "").fd(10, 4, "socket:[78]", "").unix(10, &[HEAD, OURS, THEIRS].concat());
        let mut subject = tree.container("{}");
        assert_eq!(check(&subject).result, Unknown);
        subject.unix_peers = Result::Ok(parse("u_str ESTAB 0 0 * 77 * 78\n"));
        assert_eq!(check(&subject).result, Ok);
        subject.unix_peers = Result::Ok(parse("u_str ESTAB 0 0 * 77 * 90\nu_str LISTEN 0 128 /run/x 80 * 0\n"));
        let failed = check(&subject);
        assert!(failed.result == Fail && failed.reason.contains("/run/systemd/journal/stdout"), "{failed}");
        subject.config = Config::parse("ext-unix-sk");
        assert_eq!(check(&subject).result, Warn);
    }

    #[test]
    fn without_unix_sockets_nobody_needs_to_be_asked() {
        assert_eq!(check(&Tree::new().container("{}")).result, Ok);
    }
}
