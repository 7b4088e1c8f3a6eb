//! What is known after decoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::{FileKind, GhostFile, OpenFile, Tty};
use super::{CpuInfo, PagemapTotals};

/// Everything that was found in an image directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Images {
    /// `inventory.img`.
    pub inventory: Option<Inventory>,
    /// The processes, in the order of `pstree.img`: parents before children.
    pub processes: Vec<Process>,
    /// Open files by id.
    pub files: BTreeMap<u32, OpenFile>,
    /// Terminals.
    pub ttys: Vec<Tty>,
    /// Deleted files that were open.
    pub ghosts: Vec<GhostFile>,
    /// Mounts, in CRIU's order.
    pub mounts: Vec<Mount>,
    /// The host name in the UTS namespace.
    pub hostname: Option<String>,
    /// The processor, if `cpuinfo.img` was written.
    pub cpu: Option<CpuInfo>,
    /// `stats-dump`.
    pub dump: Option<DumpStats>,
    /// `stats-restore`.
    pub restore: Option<RestoreStats>,
    /// Locks on files.
    pub file_locks: u64,
    /// Pages of all page maps, those of shared memory included.
    pub pages: PagemapTotals,
    /// Page maps of processes that `pstree.img` names, but that are missing here.
    pub missing: Vec<String>,
}

/// The inventory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Version of the image format; 2 since CRIU 1.6.
    pub version: u32,
    /// Security module at dump: `none`, `selinux`, `apparmor`.
    pub lsm: String,
    /// Whether TCP connections were dumped to come up closed.
    pub tcp_close: bool,
    /// How the network was locked: 0 iptables, 1 nftables, 2 not at all.
    pub network_lock: Option<u32>,
    /// CRIU's id of the dump.
    pub run_id: Option<String>,
}

/// A processor architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "their names say it")]
#[non_exhaustive]
pub enum Machine {
    X86_64,
    Arm,
    Aarch64,
    Ppc64,
    S390,
    Mips,
    Loongarch64,
    Riscv64,
    Unknown,
}

impl Machine {
    pub(super) fn of(number: u32) -> Self {
        match number {
            1 => Self::X86_64,
            2 => Self::Arm,
            3 => Self::Aarch64,
            4 => Self::Ppc64,
            5 => Self::S390,
            6 => Self::Mips,
            7 => Self::Loongarch64,
            8 => Self::Riscv64,
            _ => Self::Unknown,
        }
    }

    /// As in `std::env::consts::ARCH`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm => "arm",
            Self::Aarch64 => "aarch64",
            Self::Ppc64 => "powerpc64",
            Self::S390 => "s390x",
            Self::Mips => "mips64",
            Self::Loongarch64 => "loongarch64",
            Self::Riscv64 => "riscv64",
            Self::Unknown => "unknown",
        }
    }
}

/// What a process was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It ran or slept.
    Alive,
    /// It had ended, and nobody had asked for its status yet.
    Dead,
    /// It was stopped by a signal.
    Stopped,
    /// It had helped CRIU.
    Helper,
    /// It was a thread.
    Thread,
    /// None of them.
    Unknown,
}

impl TaskState {
    pub(super) fn of(number: u32) -> Self {
        match number {
            1 => Self::Alive,
            2 => Self::Dead,
            3 => Self::Stopped,
            4 => Self::Helper,
            5 => Self::Thread,
            _ => Self::Unknown,
        }
    }
}

/// One process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its id in its namespace.
    pub pid: u32,
    /// Its parent's; 0 for the first one.
    pub ppid: u32,
    /// Its process group.
    pub pgid: u32,
    /// Its session.
    pub sid: u32,
    /// Its command name.
    pub comm: String,
    /// Its executable.
    pub exe: Option<String>,
    /// What it was doing.
    pub state: TaskState,
    /// Its architecture.
    pub machine: Machine,
    /// XSAVE components in use by any of its threads.
    pub xstate: u64,
    /// Its threads, itself included.
    pub threads: Vec<Thread>,
    /// Its mappings by kind.
    pub vmas: Vec<VmaSummary>,
    /// Kernel AIO contexts.
    pub aio_rings: u64,
    /// Its pages.
    pub pages: PagemapTotals,
    /// Its descriptors.
    pub descriptors: Vec<Descriptor>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its root directory.
    pub root: Option<String>,
}

/// A thread.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Thread {
    /// Its id in its namespace.
    pub tid: u32,
    /// Its name, when CRIU recorded one.
    pub comm: Option<String>,
}

/// A file descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its number.
    pub fd: u32,
    /// Of what kind.
    pub kind: FileKind,
    /// Into [`Images::files`].
    pub file: u32,
}

/// All mappings of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmaSummary {
    /// `heap`, `stack`, `file`, `file-shared`, `anonymous`, `anonymous-shared`, `memfd`, `aio`, `vdso`, `other`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Bytes of address space.
    pub bytes: u64,
}

/// A mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Where in the container.
    pub mountpoint: String,
    /// File system.
    pub fstype: String,
    /// Source as the kernel names it.
    pub source: String,
    /// Which part of the file system.
    pub root: String,
    /// Whether somebody else must provide it at restore, and under which key.
    pub external: Option<String>,
}

/// What CRIU measured at dump. Times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DumpStats {
    /// Until all processes were frozen.
    pub freezing_us: u32,
    /// How long they were frozen.
    pub frozen_us: u32,
    /// Getting pages out of the processes.
    pub memdump_us: u32,
    /// Writing pages.
    pub memwrite_us: u32,
    /// Pages looked at.
    pub pages_scanned: u64,
    /// Pages left to the round before.
    pub pages_skipped_parent: u64,
    /// Pages written.
    pub pages_written: u64,
    /// Pages left for later.
    pub pages_lazy: u64,
}

/// What CRIU measured at restore. Times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RestoreStats {
    /// Creating the processes.
    pub forking_us: u32,
    /// All of it.
    pub restore_us: u32,
    /// Pages compared.
    pub pages_compared: u64,
    /// Pages shared instead of copied.
    pub pages_skipped_cow: u64,
    /// Pages put back.
    pub pages_restored: u64,
}
