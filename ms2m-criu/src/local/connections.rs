//! Which sockets of a checkpoint a copy can have as they are.
//!
//! A connection lives on when both its ends move and the copy's network has its address. Every other one comes up closed, and so does
//! what is bound to an address that the copy does not have. CRIU knows all or nothing, so the images are told.
//!
//! One that is closed in one direction comes up closed in both: CRIU would let the end arrive in a packet, which the lock stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};

use super::arrival::Arrived;
use super::bundle::io;
use super::network::Namespace;
use crate::image::stream::Stream;
use crate::image::{InetSocket, TcpState, closing, limits};

const FILES: &str = "files.img";
/// The head of a stream; its queues follow.
const STREAM_BYTES: u64 = 4096;

/// Closes in the images of all containers what the copy in this network cannot have. Closed already is fine.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the two ends of a connection do not fit together: something was under way while they were dumped.
pub(crate) fn close_outer(containers: &[Arrived], network: &Namespace) -> Result<()> {
    let mut found = Vec::new();
    for container in containers {
        let image = read(&container.images().join(FILES), limits::IMAGE_BYTES)?;
        let sockets = closing::sockets(&image)?;
        found.push((container.images(), image, sockets));
    }
    let all: Vec<&InetSocket> = found.iter().flat_map(|(_, _, sockets)| sockets).map(|found| &found.socket).collect();
    let addresses = network.addresses(all.iter().map(|socket| ip(socket.local)).collect())?;
    let stays = stays(&all, &addresses);
    let mut stays = stays.into_iter();
    let mut streams = BTreeMap::new();
    for (images, image, sockets) in &found {
        let (stay, close): (Vec<_>, Vec<_>) = sockets.iter().zip(stays.by_ref()).partition(|(_, stays)| *stays);
        let close: BTreeSet<u32> = close.into_iter().map(|(found, _)| found.entry).collect();
        if !close.is_empty() {
            replace(&images.join(FILES), &closing::close(image, &close)?)?;
        }
        for (found, _) in stay.into_iter().filter(|(found, _)| found.socket.is_connection()) {
            let name = format!("tcp-stream-{:x}.img", found.inode);
            let stream = Stream::decode(&name, &read(&images.join(&name), STREAM_BYTES)?)?;
            streams.insert((canonical(found.socket.local), canonical(found.socket.peer)), stream);
        }
    }
    for ((local, peer), stream) in &streams {
        if streams.get(&(*peer, *local)).is_some_and(|other| !stream.feeds(*other)) {
            let message =
                "a connection between the containers was busy while they were dumped, and its ends do not fit together; try again";
            return Err(Error::undo(ErrorKind::Unavailable, message).with("from", local).with("to", peer));
        }
    }
    Ok(())
}

/// Closes in these images every connection, and what is bound to an address that no other network has: for a copy in a network that does not exist yet,
/// whose runtime restores no connection. Closed already is fine.
pub(crate) fn close_all(images: &Path) -> Result<()> {
    let file = images.join(FILES);
    let image = read(&file, limits::IMAGE_BYTES)?;
    let stays = |socket: &InetSocket| {
        let local = ip(socket.local);
        !socket.is_connection() && (local.is_unspecified() || local.is_loopback())
    };
    let sockets = closing::sockets(&image)?;
    let close: BTreeSet<u32> = sockets.iter().filter(|found| !stays(&found.socket)).map(|found| found.entry).collect();
    if close.is_empty() { Ok(()) } else { replace(&file, &closing::close(&image, &close)?) }
}

/// For each socket, whether the copy can have it, which has these addresses.
fn stays(sockets: &[&InetSocket], addresses: &BTreeSet<IpAddr>) -> Vec<bool> {
    let mut ends: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
    for socket in sockets.iter().filter(|socket| socket.is_connection() && socket.state == TcpState::Established) {
        *ends.entry((canonical(socket.local), canonical(socket.peer))).or_default() += 1;
    }
    let has = |address: IpAddr| address.is_unspecified() || addresses.contains(&address);
    // One that is there twice cannot be told apart.
    let once = |local, peer| ends.get(&(canonical(local), canonical(peer))) == Some(&1);
    let stays = |socket: &&InetSocket| {
        let moves = !socket.is_connection() || once(socket.local, socket.peer) && once(socket.peer, socket.local);
        has(ip(socket.local)) && moves
    };
    sockets.iter().map(stays).collect()
}

fn ip(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// An IPv4 peer of an IPv6 socket is the same to both.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(ip(address), address.port())
}

/// The beginning of an image; the whole of it where nothing is said of more.
fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    let opened = File::open(file).map_err(io("an image", file))?;
    opened.take(bytes_max).read_to_end(&mut image).map_err(io("an image", file))?;
    Ok(image)
}

/// As a whole: whoever restores after a crash needs the old one or the new one.
fn replace(file: &Path, image: &[u8]) -> Result<()> {
    let new: PathBuf = file.with_extension("img.new");
    std::fs::write(&new, image).and_then(|()| std::fs::rename(&new, file)).map_err(io("the image of open files", file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Transport;

    fn socket(state: TcpState, local: &str, peer: &str) -> InetSocket {
        let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
        InetSocket { transport: Transport::Tcp, state, local, peer, send_buffer: 0, receive_buffer: 0 }
    }

    fn judged(sockets: &[InetSocket]) -> Vec<bool> {
        let addresses = ["127.0.0.1", "::1", "10.0.0.2"].map(|address| address.parse().unwrap());
        stays(&sockets.iter().collect::<Vec<_>>(), &BTreeSet::from(addresses))
    }

    use TcpState::{Close, CloseWait, Established, FinWait2, Listen};

    #[test]
    fn a_connection_stays_when_both_ends_move() {
        let client = socket(Established, "127.0.0.1:4000", "127.0.0.1:80");
        let server = socket(Established, "127.0.0.1:80", "127.0.0.1:4000");
        assert_eq!(judged(&[client.clone(), server]), [true, true]);
        assert_eq!(judged(&[client]), [false]);
        let half = [socket(CloseWait, "127.0.0.1:4000", "127.0.0.1:80"), socket(Established, "127.0.0.1:80", "127.0.0.1:4001")];
        assert_eq!(judged(&half), [false, false]);
        let closing = [socket(CloseWait, "127.0.0.1:4000", "127.0.0.1:80"), socket(FinWait2, "127.0.0.1:80", "127.0.0.1:4000")];
        assert_eq!(judged(&closing), [false, false]);
    }

    #[test]
    fn it_may_be_of_both_kinds_of_addresses() {
        let client = socket(Established, "127.0.0.1:4000", "127.0.0.1:80");
        let server = socket(Established, "[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:4000");
        assert_eq!(judged(&[client, server]), [true, true]);
    }

    #[test]
    fn an_address_that_the_copy_lacks_closes() {
        let between = |address: &str| {
            let (one, two) = (format!("{address}:80"), format!("{address}:4000"));
            judged(&[socket(Established, &one, &two), socket(Established, &two, &one)])
        };
        assert_eq!(between("10.0.0.2"), [true, true]);
        assert_eq!(between("10.0.0.3"), [false, false]);
        assert_eq!(judged(&[socket(Listen, "10.0.0.3:80", "0.0.0.0:0")]), [false]);
    }

    #[test]
    fn what_is_not_connected_stays() {
        let sockets = ["0.0.0.0:80", "127.0.0.1:80", "[::]:80"].map(|local| socket(Listen, local, "0.0.0.0:0"));
        assert_eq!(judged(&sockets), [true, true, true]);
        assert_eq!(judged(&[socket(Close, "0.0.0.0:0", "0.0.0.0:0")]), [true]);
    }

    #[test]
    fn ends_that_cannot_be_told_apart_close() {
        let end = |local: &str, peer: &str| socket(Established, local, peer);
        let twice = [end("127.0.0.1:1", "127.0.0.1:2"), end("127.0.0.1:2", "127.0.0.1:1"), end("127.0.0.1:2", "127.0.0.1:1")];
        assert_eq!(judged(&twice), [false, false, false]);
    }
}
