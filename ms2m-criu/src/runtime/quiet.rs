//! Whether anything is under way between containers that stand still.
//!
//! They are dumped one after the other, and the kernel goes on meanwhile: what an end has sent and the other one has not taken yet may
//! arrive in between, in the one image and not in the other. When nothing is under way, nothing can.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};
use procfs::net::TcpNetEntry;

use super::freezer::Freezer;

const LOOK: Duration = Duration::from_millis(1);
/// What has not moved for so long does not move before somebody reads.
const STUCK: Duration = Duration::from_millis(100);
/// It stands still for that long at most. Whoever restores sees when the images do not fit.
const PATIENCE: Duration = Duration::from_millis(500);

/// One end of a connection: this side, the other side, and how many bytes the other one has not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    local: SocketAddr,
    remote: SocketAddr,
    bytes: u32,
}

/// Waits until nothing moves any more between the containers in these freezers, which share a network.
pub(super) async fn wait(freezers: &[Freezer]) -> Result<()> {
    let processes: Vec<i32> = freezers.iter().flat_map(Freezer::processes).collect();
    let Some(&first) = processes.first() else { return Ok(()) };
    // They stand still: they open no others.
    let sockets = sockets(&processes);
    let begun = Instant::now();
    let (mut before, mut since) = (Vec::new(), begun);
    loop {
        let now = between(&look(first, &sockets)?);
        if now.is_empty() || begun.elapsed() > PATIENCE {
            return Ok(());
        }
        if now != before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > STUCK {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The sockets of these processes, by their inodes.
fn sockets(processes: &[i32]) -> BTreeSet<u64> {
    let open = |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = processes.iter().flat_map(open).filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// The ends that these sockets are.
fn look(pid: i32, sockets: &BTreeSet<u64>) -> Result<Vec<End>> {
    let cannot = |error: procfs::ProcError| {
        Error::undo(ErrorKind::Other, "the connections of the container cannot be looked at").with("pid", pid).caused_by(error)
    };
    let process = procfs::process::Process::new(pid).map_err(cannot)?;
    // Without IPv6 there is no table of it.
    let tables = process.tcp().map_err(cannot)?.into_iter().chain(process.tcp6().unwrap_or_default());
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let end =
        |entry: TcpNetEntry| End { local: canonical(entry.local_address), remote: canonical(entry.remote_address), bytes: entry.tx_queue };
    Ok(tables.filter(|entry| sockets.contains(&entry.inode)).map(end).collect())
}

/// Those with something under way to an end that is there, too.
fn between(ends: &[End]) -> Vec<End> {
    let is_there = |end: &&End| ends.iter().any(|other| (other.local, other.remote) == (end.remote, end.local));
    ends.iter().filter(|end| end.bytes > 0).filter(is_there).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(local: &str, remote: &str, bytes: u32) -> End {
        End { local: local.parse().unwrap(), remote: remote.parse().unwrap(), bytes }
    }

    #[test]
    fn only_what_moves_between_two_ends_counts() {
        let (here, there) = ("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(between(&[end(here, there, 0), end(there, here, 0)]), []);
        assert_eq!(between(&[end(here, "10.0.0.1:2", 7)]), []);
        assert_eq!(between(&[end(here, there, 7), end(there, here, 0)]), [end(here, there, 7)]);
    }

    #[test]
    fn only_sockets_of_the_containers_are_looked_at() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let writer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reader = listener.accept().unwrap().0;
        let this = i32::try_from(std::process::id()).unwrap();
        let all = sockets(&[this]);
        let found = look(this, &all).unwrap();
        let is_there = |local, remote| found.iter().any(|end| (end.local, end.remote) == (local, remote));
        assert!(is_there(writer.local_addr().unwrap(), writer.peer_addr().unwrap()));
        assert!(is_there(reader.local_addr().unwrap(), reader.peer_addr().unwrap()));
        assert_eq!(look(this, &BTreeSet::new()).unwrap(), []);
    }
}
