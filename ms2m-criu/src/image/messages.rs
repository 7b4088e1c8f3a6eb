//! The messages, with only the fields that are looked at. Texts are bytes: CRIU writes names as the kernel has them, UTF-8 or not.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct InventoryEntry {
    #[prost(uint32, tag = "1")]
    pub(super) img_version: u32,
    #[prost(uint32, optional, tag = "6")]
    pub(super) lsm: Option<u32>,
    #[prost(bool, optional, tag = "10")]
    pub(super) tcp_close: Option<bool>,
    #[prost(uint32, optional, tag = "11")]
    pub(super) network_lock: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(super) run_id: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PstreeEntry {
    #[prost(uint32, tag = "1")]
    pub(super) pid: u32,
    #[prost(uint32, tag = "2")]
    pub(super) ppid: u32,
    #[prost(uint32, tag = "3")]
    pub(super) pgid: u32,
    #[prost(uint32, tag = "4")]
    pub(super) sid: u32,
    #[prost(uint32, repeated, packed = "false", tag = "5")]
    pub(super) threads: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CoreEntry {
    #[prost(uint32, tag = "1")]
    pub(super) machine: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) x86: Option<ThreadX86>,
    #[prost(message, optional, tag = "3")]
    pub(super) task: Option<TaskCore>,
    #[prost(message, optional, tag = "4")]
    pub(super) ids: Option<IdsEntry>,
    #[prost(message, optional, tag = "5")]
    pub(super) thread: Option<ThreadCore>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskCore {
    #[prost(uint32, tag = "1")]
    pub(super) state: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) comm: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadCore {
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(super) comm: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadX86 {
    #[prost(message, optional, tag = "3")]
    pub(super) fpregs: Option<FpregsX86>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FpregsX86 {
    #[prost(message, optional, tag = "13")]
    pub(super) xsave: Option<XsaveX86>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct XsaveX86 {
    #[prost(uint64, tag = "1")]
    pub(super) xstate_bv: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IdsEntry {
    #[prost(uint32, tag = "2")]
    pub(super) files_id: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MmEntry {
    #[prost(uint32, tag = "12")]
    pub(super) exe_file_id: u32,
    #[prost(message, repeated, tag = "14")]
    pub(super) vmas: Vec<VmaEntry>,
    #[prost(message, repeated, tag = "16")]
    pub(super) aios: Vec<Nothing>,
}

/// A message that only counts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VmaEntry {
    #[prost(uint64, tag = "1")]
    pub(super) start: u64,
    #[prost(uint64, tag = "2")]
    pub(super) end: u64,
    #[prost(uint32, tag = "6")]
    pub(super) flags: u32,
    #[prost(uint32, tag = "7")]
    pub(super) status: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PagemapEntry {
    /// CRIU requires it also when it is 0, as the next one.
    #[prost(uint64, required, tag = "1")]
    pub(super) vaddr: u64,
    /// Before CRIU 4.1.
    #[prost(uint32, required, tag = "2")]
    pub(super) nr_pages_32: u32,
    #[prost(bool, tag = "3")]
    pub(super) in_parent: bool,
    #[prost(uint32, optional, tag = "4")]
    pub(super) flags: Option<u32>,
    #[prost(uint64, optional, tag = "5")]
    pub(super) nr_pages: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct PagemapHead {
    #[prost(uint32, tag = "1")]
    pub(super) pages_id: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FdinfoEntry {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, tag = "3")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "4")]
    pub(super) fd: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileEntry {
    #[prost(uint32, tag = "1")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "2")]
    pub(super) id: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) reg: Option<RegEntry>,
    #[prost(message, optional, boxed, tag = "4")]
    pub(super) isk: Option<Box<InetEntry>>,
    #[prost(message, optional, boxed, tag = "16")]
    pub(super) usk: Option<Box<UnixEntry>>,
    #[prost(message, optional, tag = "17")]
    pub(super) fifo: Option<PipeEntry>,
    #[prost(message, optional, tag = "18")]
    pub(super) pipe: Option<PipeEntry>,
    #[prost(message, optional, tag = "19")]
    pub(super) tty: Option<TtyEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RegEntry {
    #[prost(uint64, tag = "3")]
    pub(super) position: u64,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) name: Vec<u8>,
    #[prost(uint64, optional, tag = "8")]
    pub(super) size: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PipeEntry {
    #[prost(uint32, tag = "2")]
    pub(super) pipe_id: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TtyEntry {
    #[prost(uint32, tag = "2")]
    pub(super) info_id: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TtyInfoEntry {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(message, optional, tag = "12")]
    pub(super) pty: Option<PtyEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PtyEntry {
    #[prost(uint32, tag = "1")]
    pub(super) index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InetEntry {
    #[prost(uint32, tag = "2")]
    pub(super) inode: u32,
    #[prost(uint32, tag = "3")]
    pub(super) family: u32,
    #[prost(uint32, tag = "4")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "5")]
    pub(super) protocol: u32,
    #[prost(uint32, tag = "6")]
    pub(super) state: u32,
    #[prost(uint32, tag = "7")]
    pub(super) src_port: u32,
    #[prost(uint32, tag = "8")]
    pub(super) dst_port: u32,
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub(super) src_addr: Vec<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub(super) dst_addr: Vec<u32>,
    #[prost(message, optional, tag = "14")]
    pub(super) options: Option<SocketOptions>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SocketOptions {
    #[prost(uint32, tag = "1")]
    pub(super) send_buffer: u32,
    #[prost(uint32, tag = "2")]
    pub(super) receive_buffer: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UnixEntry {
    #[prost(uint32, tag = "2")]
    pub(super) inode: u32,
    #[prost(uint32, tag = "3")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "4")]
    pub(super) state: u32,
    #[prost(uint32, tag = "8")]
    pub(super) peer: u32,
    #[prost(bytes = "vec", tag = "11")]
    pub(super) name: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FsEntry {
    #[prost(uint32, tag = "1")]
    pub(super) cwd_id: u32,
    #[prost(uint32, tag = "2")]
    pub(super) root_id: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UtsnsEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) nodename: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MntEntry {
    #[prost(uint32, tag = "1")]
    pub(super) fstype: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) root: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) mountpoint: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) source: Vec<u8>,
    #[prost(bool, tag = "13")]
    pub(super) external: bool,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub(super) fsname: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "18")]
    pub(super) external_key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GhostEntry {
    #[prost(uint32, tag = "3")]
    pub(super) mode: u32,
    #[prost(uint64, optional, tag = "10")]
    pub(super) size: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CpuinfoEntry {
    #[prost(message, repeated, tag = "1")]
    pub(super) x86: Vec<CpuinfoX86>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CpuinfoX86 {
    #[prost(uint32, tag = "1")]
    pub(super) vendor: u32,
    #[prost(uint32, tag = "2")]
    pub(super) family: u32,
    #[prost(uint32, tag = "3")]
    pub(super) model: u32,
    #[prost(uint32, repeated, packed = "false", tag = "6")]
    pub(super) capability: Vec<u32>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(super) model_id: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "8")]
    pub(super) xfeatures: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatsEntry {
    #[prost(message, optional, tag = "1")]
    pub(super) dump: Option<DumpEntry>,
    #[prost(message, optional, tag = "2")]
    pub(super) restore: Option<RestoreEntry>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct DumpEntry {
    #[prost(uint32, tag = "1")]
    pub(super) freezing_time: u32,
    #[prost(uint32, tag = "2")]
    pub(super) frozen_time: u32,
    #[prost(uint32, tag = "3")]
    pub(super) memdump_time: u32,
    #[prost(uint32, tag = "4")]
    pub(super) memwrite_time: u32,
    #[prost(uint64, tag = "5")]
    pub(super) pages_scanned: u64,
    #[prost(uint64, tag = "6")]
    pub(super) pages_skipped_parent: u64,
    #[prost(uint64, tag = "7")]
    pub(super) pages_written: u64,
    #[prost(uint64, tag = "9")]
    pub(super) pages_lazy: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RestoreEntry {
    #[prost(uint64, tag = "1")]
    pub(super) pages_compared: u64,
    #[prost(uint64, tag = "2")]
    pub(super) pages_skipped_cow: u64,
    #[prost(uint32, tag = "3")]
    pub(super) forking_time: u32,
    #[prost(uint32, tag = "4")]
    pub(super) restore_time: u32,
    #[prost(uint64, optional, tag = "5")]
    pub(super) pages_restored: Option<u64>,
}
