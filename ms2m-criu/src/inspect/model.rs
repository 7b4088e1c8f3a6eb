//! What an inspection tells: the same for text and JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::mask::Variable;
use crate::archive::{Compression, Engine, SpecMount};
use crate::check::{Check, CheckResult};
use crate::image::{DumpStats, GhostFile, Inventory, Mount, PagemapTotals, RestoreStats, VmaSummary};

/// What is in a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// What was looked into.
    pub source: Source,
    /// Who wrote it; none for a bare directory of images.
    pub engine: Option<Engine>,
    /// CRIU's version at dump.
    pub criu_version: Option<String>,
    /// The kernel at dump.
    pub kernel: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// CPU features that the target must have, as far as the checkpoint says.
    pub cpu_features: Vec<String>,
    /// The containers: one, except in checkpoints of ours.
    pub containers: Vec<ContainerView>,
    /// Whether it can be restored here: the worst of [`checks`](Self::checks).
    pub restorable: CheckResult,
    /// Why, or why not.
    pub checks: Vec<Check>,
}

/// What was looked into.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Where it is.
    pub path: String,
    /// What it is.
    pub kind: SourceKind,
    /// How an archive is compressed.
    pub compression: Option<Compression>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Members or files.
    pub members: u64,
}

/// What can be looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A tar.
    Archive,
    /// A directory with what an archive holds.
    Directory,
    /// A directory of CRIU images alone.
    Images,
    /// The layer of an OCI image.
    Image,
}

/// One container.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its pod.
    pub pod: Option<Pod>,
    /// Its image as it was named.
    pub image: Option<String>,
    /// Its image as the engine keeps it.
    pub image_ref: Option<String>,
    /// Its runtime.
    pub runtime: Option<String>,
    /// When it was created.
    pub created: Option<String>,
    /// When the checkpoint was taken.
    pub checkpointed: Option<String>,
    /// Whether it had been restored before.
    pub restored_before: bool,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its addresses: as the engine says, else those that its connections use.
    pub addresses: Vec<String>,
    /// Its command line, secrets hidden.
    pub args: Vec<String>,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Whether its specification has a terminal.
    pub terminal: bool,
    /// Its environment, secrets hidden.
    pub env: Vec<Variable>,
    /// Annotations of its specification, secrets hidden.
    pub annotations: BTreeMap<String, String>,
    /// How large it is.
    pub sizes: Sizes,
    /// CRIU's inventory.
    pub inventory: Option<Inventory>,
    /// Its processes, parents before children.
    pub processes: Vec<ProcessView>,
    /// Mounts of its specification.
    pub mounts: Vec<SpecMount>,
    /// Mounts as CRIU found them.
    pub criu_mounts: Vec<Mount>,
    /// Pages of all processes and of shared memory.
    pub pages: PagemapTotals,
    /// Pre-dump rounds.
    pub rounds: Vec<Round>,
    /// What CRIU measured at dump.
    pub dump: Option<DumpStats>,
    /// What CRIU measured at restore.
    pub restore: Option<RestoreStats>,
    /// Deleted files that were open.
    pub ghosts: Vec<GhostFile>,
    /// Locks on files.
    pub file_locks: u64,
    /// Images that are missing.
    pub missing: Vec<String>,
}

/// A pod.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: Option<String>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sizes {
    /// CRIU's images, pages included.
    pub checkpoint: u64,
    /// Pages alone.
    pub pages: u64,
    /// The writable layer.
    pub rootfs_diff: Option<u64>,
    /// Content of volumes and of `/dev/shm`.
    pub volumes: u64,
    /// Pre-dump rounds.
    pub pre_dumps: u64,
}

/// One process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its id in the container.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Its command name.
    pub comm: String,
    /// Its executable.
    pub exe: Option<String>,
    /// What it was doing.
    pub state: String,
    /// How many threads it has.
    pub threads: u64,
    /// Its working directory.
    pub cwd: Option<String>,
    /// Its root directory.
    pub root: Option<String>,
    /// Its pages.
    pub pages: PagemapTotals,
    /// Its mappings.
    pub vmas: Vec<VmaSummary>,
    /// Its open files, sockets excepted.
    pub files: Vec<FileView>,
    /// Its sockets.
    pub sockets: Vec<SocketView>,
}

/// An open file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileView {
    /// The descriptor.
    pub fd: u32,
    /// Of what kind.
    pub kind: String,
    /// Which one.
    pub what: String,
}

/// A socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SocketView {
    /// The descriptor.
    pub fd: u32,
    /// `tcp`, `udp`, `unix` …
    pub kind: String,
    /// Its state.
    pub state: String,
    /// This side.
    pub local: String,
    /// The other side, if there is one.
    pub peer: Option<String>,
    /// Whether the other side is outside of the checkpoint.
    pub outer: bool,
    /// Size of the send buffer.
    pub send_buffer: u32,
    /// Size of the receive buffer.
    pub receive_buffer: u32,
}

/// A pre-dump round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Its directory.
    pub directory: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its pages: those present were dirty in this round.
    pub pages: PagemapTotals,
}
