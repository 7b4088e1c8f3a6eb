//! CRIU's RPC messages, with the fields that are used here. The field numbers are CRIU's `rpc.proto`.

use prost::{Enumeration, Message};

/// Type of a request, and of the answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(super) enum RequestType {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    Check = 3,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
    SinglePreDump = 13,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(enumeration = "RequestType", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<Box<Options>>,
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(super) features: Option<Features>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(enumeration = "RequestType", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "4")]
    pub(super) restore: Option<RestoreAnswer>,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notification>,
    #[prost(int32, optional, tag = "7")]
    pub(super) errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) features: Option<Features>,
    #[prost(string, optional, tag = "9")]
    pub(super) message: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(super) version: Option<VersionAnswer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RestoreAnswer {
    #[prost(int32, required, tag = "1")]
    pub(super) pid: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Notification {
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Features {
    #[prost(bool, optional, tag = "1")]
    pub(super) mem_track: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) lazy_pages: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(super) pidfd_store: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionAnswer {
    #[prost(int32, required, tag = "1")]
    pub(super) major: i32,
    #[prost(int32, required, tag = "2")]
    pub(super) minor: i32,
    #[prost(string, optional, tag = "3")]
    pub(super) git_id: Option<String>,
    #[prost(int32, optional, tag = "4")]
    pub(super) sublevel: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(string, required, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InheritFd {
    #[prost(string, required, tag = "1")]
    pub(super) key: String,
    #[prost(int32, required, tag = "2")]
    pub(super) fd: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CgroupRoot {
    #[prost(string, optional, tag = "1")]
    pub(super) controller: Option<String>,
    #[prost(string, required, tag = "2")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct JoinNamespace {
    #[prost(string, required, tag = "1")]
    pub(super) kind: String,
    #[prost(string, required, tag = "2")]
    pub(super) file: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    /// Required by CRIU's older releases, which take -1 for "see `images_dir`".
    #[prost(int32, required, tag = "1")]
    pub(super) images_dir_fd: i32,
    #[prost(string, optional, tag = "68")]
    pub(super) images_dir: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(super) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(super) evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(super) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(super) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(super) log_file: Option<String>,
    #[prost(bool, optional, tag = "12")]
    pub(super) notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(super) root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub(super) parent_images: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub(super) track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub(super) auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub(super) work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(super) link_remap: Option<bool>,
    #[prost(uint32, optional, tag = "20")]
    pub(super) cpu_cap: Option<u32>,
    #[prost(string, repeated, tag = "22")]
    pub(super) exec: Vec<String>,
    #[prost(message, repeated, tag = "23")]
    pub(super) ext_mounts: Vec<Pair>,
    #[prost(bool, optional, tag = "24")]
    pub(super) manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub(super) cgroup_roots: Vec<CgroupRoot>,
    #[prost(bool, optional, tag = "26")]
    pub(super) rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(super) inherit_fds: Vec<InheritFd>,
    #[prost(bool, optional, tag = "28")]
    pub(super) auto_ext_mounts: Option<bool>,
    #[prost(bool, optional, tag = "29")]
    pub(super) ext_sharing: Option<bool>,
    #[prost(bool, optional, tag = "30")]
    pub(super) ext_masters: Option<bool>,
    #[prost(int32, optional, tag = "34")]
    pub(super) manage_cgroups_mode: Option<i32>,
    #[prost(uint32, optional, tag = "35")]
    pub(super) ghost_limit: Option<u32>,
    #[prost(string, repeated, tag = "37")]
    pub(super) external: Vec<String>,
    #[prost(uint32, optional, tag = "38")]
    pub(super) empty_namespaces: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub(super) join_namespaces: Vec<JoinNamespace>,
    #[prost(string, optional, tag = "44")]
    pub(super) freeze_cgroup: Option<String>,
    #[prost(uint32, optional, tag = "45")]
    pub(super) timeout_s: Option<u32>,
    #[prost(bool, optional, tag = "46")]
    pub(super) tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub(super) orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(super) config_file: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub(super) tcp_close: Option<bool>,
    #[prost(int32, optional, tag = "64")]
    pub(super) network_lock: Option<i32>,
    #[prost(bool, optional, tag = "65")]
    pub(super) mntns_compat: Option<bool>,
    #[prost(bool, optional, tag = "66")]
    pub(super) skip_file_rwx_check: Option<bool>,
}
