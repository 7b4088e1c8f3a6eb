//! The frequent reasons for which CRIU refuses, and what to do about them.

use std::fmt;

use ms2m_core::ErrorKind;

/// A known reason for which CRIU refuses, recognised by its log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// A task uses io_uring.
    IoUring,
    /// A task has a terminal, or a session from outside of the tree.
    Terminal,
    /// A Unix socket whose other end is outside of the tree.
    ExternalUnixSocket,
    /// An established TCP connection, and neither option for it.
    EstablishedTcp,
    /// A TCP connection that is being opened.
    TcpInFlight,
    /// A socket of a kind that CRIU does not know (multipath TCP, SCTP, vsock …).
    UnknownSocket,
    /// A file lock without the option.
    FileLock,
    /// A file (standard output, most of the time) that lies outside of the container.
    OutsideMount,
    /// A file without a name, larger than the limit.
    GhostLimit,
    /// A file has another size than at the dump.
    FileSize,
    /// A file is not there at restore.
    FileMissing,
    /// A process id is taken already.
    PidInUse,
    /// A port or a connection is taken already.
    AddressInUse,
    /// The disk is full.
    NoSpace,
    /// The kernel lacks memory tracking.
    NoMemTrack,
    /// The kernel lacks another feature.
    KernelFeature,
    /// The CPU lacks an instruction set that the tree was started with.
    Cpu,
    /// CRIU lacks rights.
    Permission,
    /// The process does not exist.
    NoProcess,
    /// A device is mapped or open (GPU, `/dev/fuse` …).
    Device,
    /// Another tracer (a debugger) has the task already.
    Traced,
    /// The tasks cannot be frozen in time.
    FreezeTimeout,
    /// The images are incomplete, or of another CRIU.
    BadImages,
}

/// Parts of log lines, and what they mean; earlier rows win, for later ones are consequences.
const KNOWN: &[(&str, Cause)] = &[
    ("No space left on device", Cause::NoSpace),
    ("Disk quota exceeded", Cause::NoSpace),
    ("io_uring", Cause::IoUring),
    // The kernel lets no descriptor of io_uring be passed on (since 6.7).
    ("send_fds failed (-22)", Cause::IoUring),
    ("inode to the sk_unix", Cause::ExternalUnixSocket),
    ("External socket is used", Cause::ExternalUnixSocket),
    ("ext-unix-sk", Cause::ExternalUnixSocket),
    ("Connected TCP socket, consider using", Cause::EstablishedTcp),
    ("in-flight connection", Cause::TcpInFlight),
    ("In-flight connection", Cause::TcpInFlight),
    ("skip-in-flight", Cause::TcpInFlight),
    ("BUG! Unknown socket collected", Cause::UnknownSocket),
    ("Unsupported socket", Cause::UnknownSocket),
    ("Unsupported protocol", Cause::UnknownSocket),
    ("Unknown inet socket", Cause::UnknownSocket),
    ("Unsupported socket family", Cause::UnknownSocket),
    ("Some file locks are hold", Cause::FileLock),
    ("file-locks", Cause::FileLock),
    ("Found a non-slave tty", Cause::Terminal),
    ("shell-job", Cause::Terminal),
    ("Found dangling tty", Cause::Terminal),
    ("leader of the session", Cause::Terminal),
    ("A session leader of", Cause::Terminal),
    ("ctl tty", Cause::Terminal),
    ("Can't lookup mount", Cause::OutsideMount),
    ("size, increase limit", Cause::GhostLimit),
    ("has bad size", Cause::FileSize),
    ("has bad mode", Cause::FileSize),
    ("has bad build-ID", Cause::FileSize),
    ("Pid mismatch", Cause::PidInUse),
    ("Can't fork for", Cause::PidInUse),
    ("is already in use", Cause::PidInUse),
    ("Can't bind inet socket", Cause::AddressInUse),
    ("Can't connect inet socket back", Cause::AddressInUse),
    ("Can't open file", Cause::FileMissing),
    ("Tracking memory is not available", Cause::NoMemTrack),
    ("Memory tracking is not supported", Cause::NoMemTrack),
    ("memory tracking", Cause::NoMemTrack),
    ("CPU features", Cause::Cpu),
    ("CPU instruction", Cause::Cpu),
    ("cpu feature", Cause::Cpu),
    ("is not supported by host", Cause::Cpu),
    ("handle non-regular mapping", Cause::Device),
    ("Can't dump file", Cause::Device),
    ("is already traced", Cause::Traced),
    ("Unable to interrupt", Cause::Traced),
    ("Timeout reached", Cause::FreezeTimeout),
    ("Magic doesn't match", Cause::BadImages),
    ("inventory.img", Cause::BadImages),
    ("Unable to open pagemap", Cause::BadImages),
    ("Can't open dir /proc/", Cause::NoProcess),
    ("No such process", Cause::NoProcess),
    ("Operation not permitted", Cause::Permission),
    ("Permission denied", Cause::Permission),
    ("is not supported by the kernel", Cause::KernelFeature),
    ("kernel doesn't support", Cause::KernelFeature),
    ("Kernel doesn't support", Cause::KernelFeature),
];

impl Cause {
    /// Finds it in the lines of a log, or in the message of an answer.
    pub(crate) fn of(lines: &[&str]) -> Option<Self> {
        KNOWN.iter().find(|(part, _)| lines.iter().any(|line| line.contains(part))).map(|(_, cause)| *cause)
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::IoUring => {
                "the program uses io_uring, which CRIU cannot dump: turn it off in the program (for Node.js UV_USE_IO_URING=0)"
            }
            Self::Terminal => "start the program without a terminal and in a session of its own (setsid, stdio from /dev/null or files)",
            Self::ExternalUnixSocket => "close the Unix socket to the outside, or allow external Unix sockets; they come up disconnected",
            Self::EstablishedTcp => "choose what becomes of established TCP connections: closed in the copy (tcp-close) or alive",
            Self::TcpInFlight => "a connection was just being opened: try again, or skip connections in flight",
            Self::UnknownSocket => "the program has a socket that CRIU cannot dump; for Go >= 1.24 set GODEBUG=multipathtcp=0",
            Self::FileLock => "the program holds file locks: allow them (file-locks)",
            Self::OutsideMount => {
                "a file lies outside of the container, most of the time its stdio: start it with stdio from /dev/null or pipes"
            }
            Self::GhostLimit => "an open file without a name is larger than the ghost limit: raise it, or close the file",
            Self::FileSize => "a file differs from the one at the dump: the same file system is needed where it is restored",
            Self::FileMissing => "a file of the source is missing where it is restored: bring it there, or use the same image",
            Self::PidInUse => "a process id of the source is taken here: restore into a pid namespace of its own",
            Self::AddressInUse => {
                "a port or connection of the source is taken in the copy's network: give the copy a network of its own, or wait a minute for \
                 the kernel to forget a connection that was there before"
            }
            Self::NoSpace => "make room on the disk of the images",
            Self::NoMemTrack => "go without pre-dump: this kernel has no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)",
            Self::KernelFeature => "the kernel lacks what CRIU needs: `criu check --all` names it",
            Self::Cpu => "choose a target whose CPU has the features of the source's",
            Self::Permission => "CRIU needs root with all capabilities, and a seccomp profile that lets it trace",
            Self::NoProcess => "the process has ended: look at why, and start it again",
            Self::Device => "the program holds a device or a special file that CRIU cannot dump: close it before the checkpoint",
            Self::Traced => "a debugger or another checkpoint holds the process: end it and try again",
            Self::FreezeTimeout => "the tasks do not stop: look for one in uninterruptible sleep (state D)",
            Self::BadImages => "the images are incomplete or damaged: take the checkpoint again",
        }
    }

    /// In the terms of `ms2m-core`.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::NoSpace | Self::GhostLimit => ErrorKind::LimitExceeded,
            Self::Permission => ErrorKind::Unauthorized,
            Self::NoProcess | Self::FileMissing => ErrorKind::NotFound,
            Self::FileSize | Self::BadImages => ErrorKind::Corrupt,
            Self::PidInUse | Self::AddressInUse => ErrorKind::AlreadyExists,
            Self::Traced | Self::TcpInFlight => ErrorKind::Unavailable,
            Self::FreezeTimeout => ErrorKind::Timeout,
            _ => ErrorKind::Unsupported,
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::TcpInFlight | Self::Traced | Self::FreezeTimeout)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.remedy())
    }
}
