//! What file descriptors stand for.

use serde::{Deserialize, Serialize};

use super::messages::FileEntry;
use super::sockets::{InetSocket, UnixSocket};
use super::{Result, text};

/// An open file: one entry of `files.img`, which several descriptors may share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenFile {
    /// A regular file, directory or device, by its path.
    Regular {
        /// Where it is, in the container's own view.
        path: String,
        /// Where the next read begins.
        position: u64,
        /// Its size, when CRIU recorded one.
        size: Option<u64>,
    },
    /// One end of a pipe.
    Pipe {
        /// Both ends have the same.
        id: u32,
    },
    /// A named pipe.
    Fifo {
        /// All its ends have the same.
        id: u32,
    },
    /// An internet socket.
    Inet(InetSocket),
    /// A Unix socket.
    Unix(UnixSocket),
    /// A terminal.
    Tty {
        /// Its [`Tty`].
        info: u32,
    },
    /// Something that is only counted.
    Other(FileKind),
}

/// The kinds of files that CRIU knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the kernel's own names")]
#[non_exhaustive]
pub enum FileKind {
    Regular,
    Pipe,
    Fifo,
    Inet,
    Unix,
    Eventfd,
    Epoll,
    Inotify,
    Signalfd,
    Packet,
    Tty,
    Fanotify,
    Netlink,
    Namespace,
    Tun,
    External,
    Timerfd,
    Memfd,
    Bpfmap,
    Pidfd,
    /// A kind that is not known here.
    Unknown,
}

impl FileKind {
    pub(super) fn of(number: u32) -> Self {
        match number {
            1 => Self::Regular,
            2 => Self::Pipe,
            3 => Self::Fifo,
            4 => Self::Inet,
            5 => Self::Unix,
            6 => Self::Eventfd,
            7 => Self::Epoll,
            8 => Self::Inotify,
            9 => Self::Signalfd,
            10 => Self::Packet,
            11 => Self::Tty,
            12 => Self::Fanotify,
            13 => Self::Netlink,
            14 => Self::Namespace,
            15 => Self::Tun,
            16 => Self::External,
            17 => Self::Timerfd,
            18 => Self::Memfd,
            19 => Self::Bpfmap,
            20 => Self::Pidfd,
            _ => Self::Unknown,
        }
    }

    /// A short name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "file",
            Self::Pipe => "pipe",
            Self::Fifo => "fifo",
            Self::Inet => "inet",
            Self::Unix => "unix",
            Self::Eventfd => "eventfd",
            Self::Epoll => "epoll",
            Self::Inotify => "inotify",
            Self::Signalfd => "signalfd",
            Self::Packet => "packet",
            Self::Tty => "tty",
            Self::Fanotify => "fanotify",
            Self::Netlink => "netlink",
            Self::Namespace => "namespace",
            Self::Tun => "tun",
            Self::External => "external",
            Self::Timerfd => "timerfd",
            Self::Memfd => "memfd",
            Self::Bpfmap => "bpfmap",
            Self::Pidfd => "pidfd",
            Self::Unknown => "unknown",
        }
    }
}

impl OpenFile {
    pub(super) fn of(image: &str, entry: FileEntry) -> Result<Self> {
        let kind = FileKind::of(entry.kind);
        Ok(match (kind, entry) {
            (FileKind::Regular, FileEntry { reg: Some(reg), .. }) => {
                Self::Regular { path: text(&reg.name), position: reg.position, size: reg.size }
            }
            (FileKind::Pipe, FileEntry { pipe: Some(pipe), .. }) => Self::Pipe { id: pipe.pipe_id },
            (FileKind::Fifo, FileEntry { fifo: Some(fifo), .. }) => Self::Fifo { id: fifo.pipe_id },
            (FileKind::Inet, FileEntry { isk: Some(socket), .. }) => Self::Inet(InetSocket::of(image, &socket)?),
            (FileKind::Unix, FileEntry { usk: Some(socket), .. }) => Self::Unix(UnixSocket::of(&socket)),
            (FileKind::Tty, FileEntry { tty: Some(tty), .. }) => Self::Tty { info: tty.info_id },
            (kind, _) => Self::Other(kind),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        match self {
            Self::Regular { .. } => FileKind::Regular,
            Self::Pipe { .. } => FileKind::Pipe,
            Self::Fifo { .. } => FileKind::Fifo,
            Self::Inet(_) => FileKind::Inet,
            Self::Unix(_) => FileKind::Unix,
            Self::Tty { .. } => FileKind::Tty,
            Self::Other(kind) => *kind,
        }
    }
}

/// A terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tty {
    /// By which [`OpenFile::Tty`] names it.
    pub id: u32,
    /// `pty`, `console`, `external` …
    pub kind: String,
    /// The number below `/dev/pts`.
    pub index: Option<u32>,
}

/// A file that was deleted while it was open: its content travels in an image of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GhostFile {
    /// The image.
    pub image: String,
    /// Mode bits.
    pub mode: u32,
    /// Bytes of content.
    pub size: u64,
}
