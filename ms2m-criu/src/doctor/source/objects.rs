//! Kernel objects that CRIU does not know: io_uring, perf events, sockets of strange protocols.

use super::subject::{Subject, some};
use crate::check::Check;

/// What CRIU can carry.
const KNOWN: [&str; 8] = ["eventfd", "eventpoll", "signalfd", "inotify", "fanotify", "timerfd", "bpf-map", "pidfd"];
const PROTOCOLS: [&str; 12] =
    ["TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6", "RAW", "RAWv6", "UNIX", "UNIX-STREAM", "NETLINK", "PACKET"];

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "kernel-objects";
    let (mut found, mut remedies) = (Vec::new(), Vec::new());
    let mut add = |what: String, remedy: &'static str| {
        found.push(what);
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    };
    for one in subject.descriptors() {
        if let Some(kind) = one.anonymous().filter(|kind| !KNOWN.contains(kind)) {
            add(format!("{kind} ({})", one.place()), object_remedy(kind));
        }
        if let Some(protocol) = one.protocol.as_deref().filter(|protocol| !PROTOCOLS.contains(protocol)) {
            add(format!("{protocol} socket ({})", one.place()), socket_remedy(protocol));
        }
    }
    for process in &subject.processes {
        for kind in process.special_maps.iter().filter_map(|map| map.strip_prefix("anon_inode:")) {
            let kind = kind.trim_start_matches('[').trim_end_matches(']');
            add(format!("{kind} (mapped by process {})", process.pid), object_remedy(kind));
        }
    }
    if found.is_empty() {
        return Check::ok(NAME, "only what CRIU knows: no io_uring, no multipath TCP");
    }
    Check::fail(NAME, format!("CRIU cannot carry {}", some(&found))).remedy(remedies.join("; "))
}

fn object_remedy(kind: &str) -> &'static str {
    match kind {
        "io_uring" => {
            "turn io_uring off in the program (Node.js: UV_USE_IO_URING=0; others: use epoll), or forbid it before the program starts: `sysctl kernel.io_uring_disabled=2`"
        }
        "perf_event" => "end the profiler",
        "kvm-vm" | "kvm-vcpu:0" => "move virtual machines by their own migration",
        _ => "let the program close it before the checkpoint, or do without it",
    }
}

fn socket_remedy(protocol: &str) -> &'static str {
    if protocol.starts_with("MPTCP") {
        "switch multipath TCP off: Go 1.24 and later: GODEBUG=multipathtcp=0; everybody: `sysctl net.mptcp.enabled=0` before the program starts"
    } else {
        "let the program use TCP, UDP or unix sockets, or close it before the checkpoint"
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok};

    #[test]
    fn io_uring_is_named_with_its_descriptor() {
        let tree = Tree::new();
        tree.fd(10, 4, "anon_inode:[eventpoll]", "");
        assert_eq!(check(&tree.subject()).result, Ok);
        tree.fd(10, 5, "anon_inode:[io_uring]", "");
        let check = check(&tree.subject());
        assert_eq!(check.result, Fail);
        assert!(check.reason.contains("io_uring (descriptor 5 of process 10)") && check.remedy.unwrap().contains("io_uring_disabled"));
    }

    #[test]
    fn a_ring_whose_descriptor_is_closed_is_seen_in_the_maps() {
        let tree = Tree::new();
        tree.maps(10, "7f0000000000-7f0000001000 rw-s 00000000 00:0f 1056 anon_inode:[io_uring]\n");
        assert!(check(&tree.subject()).reason.contains("io_uring (mapped by process 10)"));
    }

    #[test]
    fn multipath_tcp_has_its_own_remedy() {
        let mut subject = Tree::new().fd(10, 3, "socket:[77]", "").subject();
        subject.processes[0].descriptors[0].protocol = Some("TCP".into());
        assert_eq!(check(&subject).result, Ok);
        subject.processes[0].descriptors[0].protocol = Some("MPTCPv6".into());
        let check = check(&subject);
        assert!(check.result == Fail && check.remedy.unwrap().contains("GODEBUG"));
    }
}
