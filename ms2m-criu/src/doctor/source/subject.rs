//! All that is known about the source, read once.

use std::collections::{BTreeMap, BTreeSet};

use procfs::net::{TcpNetEntries, TcpNetEntry, UnixNetEntries, UnixNetEntry};
use procfs::process::{MountInfo, MountInfos};
use procfs::{FromRead as _, FromReadSI as _, current_system_info};

use super::container::Container;
use super::descriptor::Descriptor;
use super::error::SourceError;
use super::tree::{self, Process};
use crate::check::Check;
use crate::doctor::config::{self, Config, Taker};
use crate::doctor::host::Host;

/// A process with its descendants, and the container that they are.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) host: Host,
    pub(super) pid: i32,
    pub(super) container: Option<Container>,
    /// The root process comes first.
    pub(super) processes: Vec<Process>,
    pub(super) mounts: Vec<MountInfo>,
    pub(super) tcp: Vec<TcpNetEntry>,
    pub(super) unix: Vec<UnixNetEntry>,
    /// The other end of each unix socket, by inode; an error when it could not be found out.
    pub(super) unix_peers: Result<BTreeMap<u64, u64>, String>,
    /// Processes of the container that are not among its first one's descendants.
    pub(super) strangers: Vec<i32>,
    /// The namespaces that we are in ourselves.
    pub(super) our_namespaces: BTreeMap<String, String>,
    /// Who takes the checkpoint.
    pub(super) taker: Taker,
    /// What CRIU will be told.
    pub(super) config: Config,
}

impl Subject {
    pub(super) fn read(host: &Host, pid: i32, container: Option<Container>) -> Result<Self, SourceError> {
        let dir = tree::dir(host, pid);
        let failed = |reason: String| SourceError::Process { pid, reason };
        if !dir.is_dir() {
            return Err(match container {
                Some(_) => failed("it has ended".into()),
                None => SourceError::NoSource(pid.to_string()),
            });
        }
        let processes: Vec<_> = tree::descendants(host, pid).into_iter().filter_map(|pid| Process::read(host, pid)).collect();
        if processes.first().is_none_or(|first| first.pid != pid) {
            return Err(failed(format!("/proc/{pid}/status cannot be read")));
        }
        // Without this right every list of descriptors would look empty, and everything fine.
        std::fs::read_dir(dir.join("fd")).map_err(|error| failed(format!("/proc/{pid}/fd: {error}")))?;
        let mounts = MountInfos::from_file(dir.join("mountinfo")).map_err(|error| failed(error.to_string()))?.0;
        let tcp = ["net/tcp", "net/tcp6"]
            .into_iter()
            .filter_map(|file| TcpNetEntries::from_file(dir.join(file), current_system_info()).ok())
            .flat_map(|entries| entries.0)
            .collect();
        let unix = UnixNetEntries::from_file(dir.join("net/unix")).map(|entries| entries.0).unwrap_or_default();
        let strangers = if container.is_some() { tree::strangers(host, &processes) } else { Vec::new() };
        Ok(Self {
            host: host.clone(),
            pid,
            container,
            processes,
            mounts,
            tcp,
            unix,
            unix_peers: Err("nobody asked".to_owned()),
            strangers,
            our_namespaces: tree::namespaces(&host.path("/proc/self")),
            taker: Taker::Runtime,
            config: Config::default(),
        })
    }

    /// Where a line of CRIU's configuration belongs.
    pub(super) fn config_file(&self) -> String {
        match &self.container {
            Some(container) if self.taker == Taker::Runtime => {
                container.annotation("org.criu.config").unwrap_or(config::file_of(container.runtime)).to_owned()
            }
            _ => config::DEFAULT.to_owned(),
        }
    }

    /// Every descriptor of every process.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.processes.iter().flat_map(|process| &process.descriptors)
    }

    /// The inodes of the sockets that somebody in here holds.
    pub(super) fn sockets(&self) -> BTreeSet<u64> {
        self.descriptors().filter_map(Descriptor::socket).collect()
    }

    /// The first line: what was looked at.
    pub(super) fn check(&self) -> Check {
        let processes = self.processes.len();
        let threads: u64 = self.processes.iter().map(|process| process.status.threads).sum();
        let first = &self.processes[0];
        let what = match &self.container {
            Some(container) => format!("{} container {}, process {}", container.runtime, container.name, first.name()),
            None => format!("process {}", first.name()),
        };
        let cgroups: BTreeSet<_> = first.cgroups.iter().map(String::as_str).collect();
        let cgroups = cgroups.into_iter().collect::<Vec<_>>().join(" ");
        Check::ok("source", format!("{what}: {processes} processes, {threads} threads, cgroup {cgroups}"))
    }
}

/// The first few of `items`, and how many more there are.
pub(super) fn some(items: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN { format!("{shown} and {} more", items.len() - SHOWN) } else { shown }
}
