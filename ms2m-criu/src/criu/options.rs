//! What a dump is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use super::wire;

/// Whose cgroups CRIU writes down and makes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ManageCgroups {
    /// Nobody's: the runtime, or nobody, cares for them. The cheapest one.
    #[default]
    Ignore,
    /// Those that do not exist at restore.
    Soft,
    /// All of them, with their properties.
    Full,
    /// All of them; that they exist already is an error.
    Strict,
}

impl ManageCgroups {
    fn wire(self) -> i32 {
        match self {
            Self::Ignore => 0,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
        }
    }
}

/// How CRIU keeps packets of the dumped connections away from the kernel, which would answer them with a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NetworkLock {
    /// Not at all. Right where the source goes on, or where the connections come up closed.
    #[default]
    Skip,
    /// By rules of nftables.
    Nftables,
    /// By `iptables-restore`, a process for each lock and unlock.
    Iptables,
}

impl NetworkLock {
    fn wire(self) -> i32 {
        match self {
            Self::Iptables => 1,
            Self::Nftables => 2,
            Self::Skip => 3,
        }
    }
}

/// What [`Criu::dump`](super::Criu::dump) and [`Criu::pre_dump`](super::Criu::pre_dump) shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpOptions {
    /// The root of the process tree, as seen by the CRIU process.
    pub pid: u32,
    /// An existing directory for the images.
    pub images_dir: PathBuf,
    /// Where the log and `stats-dump` go; `None`: into [`images_dir`](Self::images_dir). Must be visible to CRIU under this process'
    /// own pid, so not with [`Criu::launched_by`](super::Criu::launched_by) into another pid namespace.
    pub work_dir: Option<PathBuf>,
    /// Name of the log in the work directory.
    pub log_file: String,
    /// 0 (nothing) to 4 (everything, costs freeze time). Default 2: errors and warnings.
    pub log_level: i32,
    /// Root of the tree's mount namespace, as seen by CRIU; for containers.
    pub root: Option<PathBuf>,
    /// Whether the tree goes on afterwards. `false` kills it once it is dumped.
    pub leave_running: bool,
    /// Dump established TCP connections with their state, so that they can be alive in the copy. CRIU puts the sockets into the kernel's
    /// repair mode while it does so; a CRIU that is killed then leaves them in it.
    pub tcp_established: bool,
    /// Dump established TCP connections as closed ones, without looking into them. The source's are not touched.
    pub tcp_close: bool,
    /// Leave out connections that are being opened; the peer opens them again.
    pub tcp_skip_in_flight: bool,
    /// Allow Unix sockets whose other end is outside of the tree.
    pub ext_unix_sk: bool,
    /// Dump file locks.
    pub file_locks: bool,
    /// Allow a session or a terminal from outside of the tree.
    pub shell_job: bool,
    /// Give open files without a name a temporary one in their directory, when they have other names elsewhere.
    pub link_remap: bool,
    /// Resources that the restorer provides, for example `mnt[key]:value`, `net[inode]:name`, `file[…]`.
    pub external: Vec<String>,
    /// Bind mounts that the restorer provides: mount point in the tree, name at restore.
    pub ext_mounts: Vec<(String, String)>,
    /// What is written down about cgroups.
    pub manage_cgroups: ManageCgroups,
    /// What happens to the network meanwhile.
    pub network_lock: NetworkLock,
    /// Freeze by this freezer cgroup instead of by seizing the tasks. CRIU looks in steps of 100 ms, and a killed CRIU leaves it frozen.
    pub freeze_cgroup: Option<PathBuf>,
    /// The images to build on, relative to [`images_dir`](Self::images_dir), for example `../pre-1`.
    pub parent_images: Option<PathBuf>,
    /// Track changes of memory from now on, for a next dump to build on this one. Implied by a pre-dump.
    pub track_mem: bool,
    /// Remove from the parent images what is written again.
    pub auto_dedup: bool,
    /// Largest open file without a name that is taken along, in bytes. Default 16 MiB (CRIU's is 1 MiB).
    pub ghost_limit: u32,
    /// CRIU's `--cpu-cap` as its bit mask; `None` is CRIU's default.
    pub cpu_cap: Option<u32>,
    /// A configuration file of CRIU for this call; its lines win over these options.
    pub config_file: Option<PathBuf>,
    /// When the call fails and CRIU is killed. Default 60 s.
    pub deadline: Duration,
}

impl DumpOptions {
    /// Dumps the tree of `pid` into `images_dir` and leaves it running, with everything else off.
    pub fn new(pid: u32, images_dir: impl Into<PathBuf>) -> Self {
        Self {
            pid,
            images_dir: images_dir.into(),
            work_dir: None,
            log_file: "dump.log".to_owned(),
            log_level: 2,
            root: None,
            leave_running: true,
            tcp_established: false,
            tcp_close: false,
            tcp_skip_in_flight: false,
            ext_unix_sk: false,
            file_locks: false,
            shell_job: false,
            link_remap: false,
            external: Vec::new(),
            ext_mounts: Vec::new(),
            manage_cgroups: ManageCgroups::default(),
            network_lock: NetworkLock::default(),
            freeze_cgroup: None,
            parent_images: None,
            track_mem: false,
            auto_dedup: false,
            ghost_limit: 16 << 20,
            cpu_cap: None,
            config_file: None,
            deadline: Duration::from_secs(60),
        }
    }

    pub(super) fn wire(&self, images_dir_fd: Option<i32>, work_dir_fd: Option<i32>) -> wire::Options {
        let pair = |(key, value): &(String, String)| wire::Pair { key: key.clone(), value: value.clone() };
        wire::Options {
            images_dir_fd: images_dir_fd.unwrap_or(-1),
            images_dir: images_dir_fd.is_none().then(|| text(&self.images_dir)),
            work_dir_fd,
            pid: Some(i32::try_from(self.pid).unwrap_or(i32::MAX)),
            leave_running: Some(self.leave_running),
            ext_unix_sk: Some(self.ext_unix_sk),
            tcp_established: Some(self.tcp_established),
            tcp_close: Some(self.tcp_close),
            tcp_skip_in_flight: Some(self.tcp_skip_in_flight),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            link_remap: Some(self.link_remap),
            log_level: Some(self.log_level),
            log_file: Some(self.log_file.clone()),
            root: self.root.as_deref().map(text),
            parent_images: self.parent_images.as_deref().map(text),
            track_mem: Some(self.track_mem),
            auto_dedup: Some(self.auto_dedup),
            external: self.external.clone(),
            ext_mounts: self.ext_mounts.iter().map(pair).collect(),
            manage_cgroups: Some(self.manage_cgroups != ManageCgroups::Ignore),
            manage_cgroups_mode: Some(self.manage_cgroups.wire()),
            network_lock: Some(self.network_lock.wire()),
            freeze_cgroup: self.freeze_cgroup.as_deref().map(text),
            ghost_limit: Some(self.ghost_limit),
            cpu_cap: self.cpu_cap,
            config_file: self.config_file.as_deref().map(text),
            timeout_s: Some(timeout_s(self.deadline)),
            ..wire::Options::default()
        }
    }
}

/// What [`Criu::restore`](super::Criu::restore) shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreOptions {
    /// The directory of the images; with pre-dumps, that of the final part.
    pub images_dir: PathBuf,
    /// Where the log and `stats-restore` go; see [`DumpOptions::work_dir`].
    pub work_dir: Option<PathBuf>,
    /// Name of the log in the work directory.
    pub log_file: String,
    /// 0 to 4; default 2.
    pub log_level: i32,
    /// Root of the copy's mount namespace; must be a mount point of its own.
    pub root: Option<PathBuf>,
    /// Restore connections that were dumped as established.
    pub tcp_established: bool,
    /// Restore connections as closed ones: their next read or write fails, as after a reset.
    pub tcp_close: bool,
    /// See [`DumpOptions::ext_unix_sk`].
    pub ext_unix_sk: bool,
    /// See [`DumpOptions::file_locks`].
    pub file_locks: bool,
    /// Put the copy into CRIU's own session and terminal.
    pub shell_job: bool,
    /// See [`DumpOptions::link_remap`].
    pub link_remap: bool,
    /// See [`DumpOptions::external`].
    pub external: Vec<String>,
    /// Name of a bind mount at dump, and what is mounted there now.
    pub ext_mounts: Vec<(String, String)>,
    /// What is made of cgroups.
    pub manage_cgroups: ManageCgroups,
    /// Cgroups to restore into: controller (`None`: all), path.
    pub cgroup_roots: Vec<(Option<String>, String)>,
    /// Namespaces to join: kind (`net`, `ipc`, `uts`, …) and file.
    pub join_namespaces: Vec<(String, PathBuf)>,
    /// The file that takes the place of what the tree had open under this key (`pipe:[inode]`, or a path without its first `/`), by the
    /// number of CRIU's own descriptor: 1 and 2, see [`Criu::output`](super::Criu::output).
    pub inherit_fds: Vec<(String, i32)>,
    /// The root of the tree becomes CRIU's sibling instead of its child.
    pub rst_sibling: bool,
    /// What CRIU becomes once the tree is restored, which stays its child. Empty: CRIU ends, and the tree belongs to the nearest reaper.
    pub exec: Vec<String>,
    /// Do not compare the permissions of files with those at the dump.
    pub skip_file_rwx_check: bool,
    /// See [`DumpOptions::cpu_cap`].
    pub cpu_cap: Option<u32>,
    /// See [`DumpOptions::config_file`].
    pub config_file: Option<PathBuf>,
    /// When the call fails and CRIU is killed. What it has restored by then is for the caller to end. Default 60 s.
    pub deadline: Duration,
}

impl RestoreOptions {
    /// Restores from `images_dir`, detached, with everything else off.
    pub fn new(images_dir: impl Into<PathBuf>) -> Self {
        Self {
            images_dir: images_dir.into(),
            work_dir: None,
            log_file: "restore.log".to_owned(),
            log_level: 2,
            root: None,
            tcp_established: false,
            tcp_close: false,
            ext_unix_sk: false,
            file_locks: false,
            shell_job: false,
            link_remap: false,
            external: Vec::new(),
            ext_mounts: Vec::new(),
            manage_cgroups: ManageCgroups::default(),
            cgroup_roots: Vec::new(),
            join_namespaces: Vec::new(),
            inherit_fds: Vec::new(),
            rst_sibling: false,
            exec: Vec::new(),
            skip_file_rwx_check: false,
            cpu_cap: None,
            config_file: None,
            deadline: Duration::from_secs(60),
        }
    }

    pub(super) fn wire(&self, images_dir_fd: Option<i32>, work_dir_fd: Option<i32>) -> wire::Options {
        let pair = |(key, value): &(String, String)| wire::Pair { key: key.clone(), value: value.clone() };
        let cgroup =
            |(controller, path): &(Option<String>, String)| wire::CgroupRoot { controller: controller.clone(), path: path.clone() };
        let join = |(kind, file): &(String, PathBuf)| wire::JoinNamespace { kind: kind.clone(), file: text(file) };
        let inherit = |(key, fd): &(String, i32)| wire::InheritFd { key: key.clone(), fd: *fd };
        wire::Options {
            images_dir_fd: images_dir_fd.unwrap_or(-1),
            images_dir: images_dir_fd.is_none().then(|| text(&self.images_dir)),
            work_dir_fd,
            ext_unix_sk: Some(self.ext_unix_sk),
            tcp_established: Some(self.tcp_established),
            tcp_close: Some(self.tcp_close),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            link_remap: Some(self.link_remap),
            log_level: Some(self.log_level),
            log_file: Some(self.log_file.clone()),
            root: self.root.as_deref().map(text),
            external: self.external.clone(),
            ext_mounts: self.ext_mounts.iter().map(pair).collect(),
            manage_cgroups: Some(self.manage_cgroups != ManageCgroups::Ignore),
            manage_cgroups_mode: Some(self.manage_cgroups.wire()),
            cgroup_roots: self.cgroup_roots.iter().map(cgroup).collect(),
            join_namespaces: self.join_namespaces.iter().map(join).collect(),
            inherit_fds: self.inherit_fds.iter().map(inherit).collect(),
            rst_sibling: Some(self.rst_sibling),
            exec: self.exec.clone(),
            skip_file_rwx_check: Some(self.skip_file_rwx_check),
            cpu_cap: self.cpu_cap,
            config_file: self.config_file.as_deref().map(text),
            timeout_s: Some(timeout_s(self.deadline)),
            ..wire::Options::default()
        }
    }
}

/// Paths are strings on the wire. One that is no UTF-8 becomes one that does not exist, and CRIU says so.
fn text(path: impl AsRef<std::path::Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// CRIU's own limit on freezing, so that it gives up by itself before it is killed.
fn timeout_s(deadline: Duration) -> u32 {
    u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX).max(1)
}
