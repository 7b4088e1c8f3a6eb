//! Sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::messages::{InetEntry, UnixEntry};
use super::{ImageError, Result, text};

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Another one, by its number.
    Other(u32),
}

/// A state of TCP, as the kernel numbers them. UDP knows `Established` (connected) and `Close`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the states of RFC 9293")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// None of them.
    Unknown,
}

impl TcpState {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => Self::Unknown,
        }
    }

    /// Whether there is a peer that will notice.
    #[must_use]
    pub fn is_connected(self) -> bool {
        !matches!(self, Self::Listen | Self::Close | Self::TimeWait | Self::Unknown)
    }
}

/// An internet socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InetSocket {
    /// Its protocol.
    pub transport: Transport,
    /// Its state.
    pub state: TcpState,
    /// This side.
    pub local: SocketAddr,
    /// The other side; unspecified when there is none.
    pub peer: SocketAddr,
    /// Size of the send buffer.
    pub send_buffer: u32,
    /// Size of the receive buffer.
    pub receive_buffer: u32,
}

impl InetSocket {
    pub(super) fn of(name: &str, entry: &InetEntry) -> Result<Self> {
        let address = |words: &[u32], port: u32| -> Result<SocketAddr> {
            let port = u16::try_from(port).map_err(|_| ImageError::malformed(name, format!("{port} is no port")))?;
            // Words as they lie in memory: in the order of the network, read as little-endian numbers.
            let ip = match (entry.family, words) {
                (_, []) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                (2, [word, ..]) => IpAddr::V4(Ipv4Addr::from(word.to_le_bytes())),
                (10, [a, b, c, d]) => {
                    let mut bytes = [0; 16];
                    for (chunk, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
                        chunk.copy_from_slice(&word.to_le_bytes());
                    }
                    IpAddr::V6(Ipv6Addr::from(bytes))
                }
                (family, words) => {
                    return Err(ImageError::malformed(name, format!("a socket of family {family} has {} address words", words.len())));
                }
            };
            Ok(SocketAddr::new(ip, port))
        };
        let transport = match entry.protocol {
            6 => Transport::Tcp,
            17 => Transport::Udp,
            other => Transport::Other(other),
        };
        let options = entry.options.clone().unwrap_or_default();
        Ok(Self {
            transport,
            state: TcpState::of(entry.state),
            local: address(&entry.src_addr, entry.src_port)?,
            peer: address(&entry.dst_addr, entry.dst_port)?,
            send_buffer: options.send_buffer,
            receive_buffer: options.receive_buffer,
        })
    }

    /// Whether it is a TCP connection with a peer that will notice.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.transport == Transport::Tcp && self.state.is_connected()
    }
}

/// A Unix socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnixSocket {
    /// `stream`, `dgram` or `seqpacket`.
    pub kind: String,
    /// Its path; an abstract name begins with `@`; empty when it has none.
    pub name: String,
    /// Its inode.
    pub inode: u32,
    /// Its peer's inode; 0 when it has none.
    pub peer: u32,
    /// Whether it listens.
    pub listens: bool,
}

impl UnixSocket {
    pub(super) fn of(entry: &UnixEntry) -> Self {
        let kind = match entry.kind {
            1 => "stream",
            2 => "dgram",
            5 => "seqpacket",
            _ => "unknown",
        };
        let name = match entry.name.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => format!("@{}", text(rest)),
            name => text(name.strip_suffix(&[0]).unwrap_or(name)),
        };
        Self { kind: kind.into(), name, inode: entry.inode, peer: entry.peer, listens: entry.state == 10 }
    }
}
