//! The copy's cgroup: by it every process of the copy can be found, also when whoever made it was killed half way.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, Result};

use crate::runtime::Process;

const MOUNT: &str = "/sys/fs/cgroup";
const LOOK: Duration = Duration::from_millis(2);

/// The directories of one cgroup, one per hierarchy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// The cgroup of this name, directly under the root, in every hierarchy of the machine.
    pub(crate) fn named(name: &str) -> Self {
        Self { directories: hierarchies().into_iter().map(|hierarchy| hierarchy.join(name)).collect() }
    }

    /// Makes it.
    pub(crate) fn create(&self) -> Result<()> {
        self.directories.iter().try_for_each(|directory| match std::fs::create_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let message = "the copy's cgroup cannot be made; ms2m must run as root with a writable /sys/fs/cgroup";
                Err(Error::undo(ErrorKind::Unsupported, message).with("cgroup", directory.display()).caused_by(error))
            }
            _ => Ok(()),
        })
    }

    /// A file into which a process writes `0` to be in this cgroup. The process's children are, too.
    pub(crate) fn entrance(&self) -> Option<PathBuf> {
        // The unified hierarchy comes last. In one of version 1 a process may be anywhere, so any hierarchy will do.
        self.directories.last().map(|directory| directory.join("cgroup.procs"))
    }

    /// The directory in the hierarchy that has this one of the controllers, or in the unified one.
    pub(crate) fn directory(&self, controllers: Option<&[String]>) -> Option<&Path> {
        let unified_alone = is_unified_alone();
        let belongs = |directory: &&PathBuf| {
            // The name may have several parts.
            let hierarchy = directory.strip_prefix(MOUNT).ok().and_then(|below| below.iter().next()).unwrap_or_default().to_string_lossy();
            match controllers {
                None => unified_alone || hierarchy == "unified",
                Some(wanted) => {
                    hierarchy.split(',').any(|name| wanted.iter().any(|one| one == name || one.strip_prefix("name=") == Some(name)))
                }
            }
        };
        self.directories.iter().find(belongs).map(PathBuf::as_path)
    }

    /// Takes over what is in another one.
    pub(crate) fn adopt(&self, other: &Self) -> Result<()> {
        for pid in other.processes()? {
            for directory in &self.directories {
                match std::fs::write(directory.join("cgroup.procs"), pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                    Err(error) => {
                        let message = "a process of the copy cannot be moved into its cgroup";
                        return Err(Error::undo(ErrorKind::Other, message).with("pid", pid).caused_by(error));
                    }
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Kills everything in it until nothing is left.
    pub(crate) async fn kill(&self, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                if let Some(process) = Process::open(pid)? {
                    process.kill()?;
                }
            }
            if begun.elapsed() > deadline {
                return Err(Error::retry(ErrorKind::Timeout, "processes of the copy were killed but have not ended"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The processes in it and below.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for directory in &self.directories {
            collect(directory, &mut found)
                .map_err(|error| Error::retry(ErrorKind::Other, "the copy's cgroup cannot be read").caused_by(error))?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The process that is number 1 where the container counts, in the outermost of its pid namespaces.
    pub(crate) fn first_process(&self) -> Result<Option<i32>> {
        let numbers = |pid: &i32| procfs::process::Process::new(*pid).and_then(|process| process.status()).ok()?.nspid;
        let depth = |pid: i32| numbers(&pid).filter(|numbers| numbers.len() > 1 && numbers.last() == Some(&1)).map(|all| (all.len(), pid));
        Ok(self.processes()?.into_iter().filter_map(depth).min().map(|(_, pid)| pid))
    }

    /// Removes it. Missing is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        self.directories.iter().try_for_each(|directory| {
            remove(directory).map_err(|error| {
                Error::retry(ErrorKind::Other, "the copy's cgroup cannot be removed").with("cgroup", directory.display()).caused_by(error)
            })
        })
    }
}

/// Version 1 has a directory per hierarchy, version 2 is one by itself.
fn hierarchies() -> Vec<PathBuf> {
    if is_unified_alone() {
        return vec![PathBuf::from(MOUNT)];
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(MOUNT)
        .into_iter()
        .flatten()
        .flatten()
        // The links of combined controllers (cpu -> cpu,cpuacct) are not hierarchies.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    found.sort_by_key(|path| (path.ends_with("unified"), path.clone()));
    found
}

fn is_unified_alone() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

fn collect(directory: &Path, found: &mut Vec<i32>) -> io::Result<()> {
    match std::fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    for below in below(directory)? {
        collect(&below, found)?;
    }
    Ok(())
}

fn remove(directory: &Path) -> io::Result<()> {
    for below in below(directory)? {
        remove(&below)?;
    }
    match std::fs::remove_dir(directory) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect())
        }
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A cgroup that is being removed answers ENODEV.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
