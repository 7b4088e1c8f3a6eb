//! The network namespace that the containers of a copy share.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ms2m_core::{Error, ErrorKind, Result};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};

use super::bundle::io as failed;
use super::mount;
use super::namespace::within;

/// Which network the containers of a copy get.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What their configuration says. TCP connections come up closed.
    #[default]
    AsConfigured,
    /// A namespace that is made for the copy, with nothing in it but the loopback interface. Connections between the containers live on.
    Own,
    /// A namespace that was prepared for the copy, by its file. Connections between the containers live on, as far as they are between
    /// addresses that it has.
    At(PathBuf),
}

/// Traffic control's word for our lock, so that nobody else's is removed.
const HANDLE: &str = "4d32:";

/// A network namespace that is the copy's, and not the source's as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Namespace {
    path: PathBuf,
    prepared: bool,
}

impl Namespace {
    /// `directory` is where one of the copy's own is kept: the bundle of its first container, with which it goes.
    pub(super) fn of(network: &Network, directory: &Path) -> Option<Self> {
        match network {
            Network::AsConfigured => None,
            Network::Own => Some(Self { path: directory.join("network"), prepared: false }),
            Network::At(path) => Some(Self { path: path.clone(), prepared: true }),
        }
    }

    /// That of a pod.
    pub(crate) fn of_pod(path: PathBuf) -> Self {
        Self { path, prepared: true }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, with its loopback interface up. One that is made already is fine.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.prepared {
            return self.within(|| Ok(())).map_err(|error| {
                let message = "the network namespace that was named for the copy cannot be entered; `ip netns add` makes one";
                Error::fatal(ErrorKind::NotFound, message).with("file", self.path.display()).caused_by(error)
            });
        }
        if !mount::is_mounted(&self.path)? {
            File::create(&self.path).map_err(failed("the file of the network namespace", &self.path))?;
            let mut argument = std::ffi::OsString::from("--net=");
            argument.push(&self.path);
            run(Command::new("unshare").arg(argument).arg("true")).map_err(|error| cannot("made", &self.path, error))?;
        }
        self.within(|| run(Command::new("ip").args(["link", "set", "lo", "up"]))).map_err(|error| cannot("set up", &self.path, error))
    }

    /// Which of these addresses it has.
    pub(super) fn addresses(&self, of: BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>> {
        // What can be bound is there.
        let bound = move || Ok(of.into_iter().filter(|address| UdpSocket::bind((*address, 0)).is_ok()).collect());
        self.within(bound).map_err(|error| cannot("looked into", &self.path, error))
    }

    /// Drops every packet on its loopback interface, until [`unlock`](Self::unlock).
    ///
    /// An end of a connection that is restored before the other one would meet nobody and be reset. By the queue of the interface, and
    /// not by a packet filter: that is in every kernel, it is for all protocols, TCP learns of the loss at once, and there is one thing
    /// to remove.
    pub(crate) fn lock(&self) -> Result<()> {
        self.unlock()?;
        let lock = || run(Command::new("tc").args(["qdisc", "add", "dev", "lo", "root", "handle", HANDLE, "bfifo", "limit", "1"]));
        self.within(lock).map_err(|error| self.cannot_be_locked(error))
    }

    /// Whether there is what locks it, as far as that can be known beforehand.
    pub(crate) fn has_lock(&self) -> Result<()> {
        self.within(|| run(Command::new("tc").args(["qdisc", "show", "dev", "lo"]))).map_err(|error| self.cannot_be_locked(error))
    }

    fn cannot_be_locked(&self, error: io::Error) -> Error {
        let message = "the copy's loopback interface cannot be locked; needs `tc` (iproute2), and an interface without a queue of its own";
        Error::undo(ErrorKind::Unsupported, message).with("namespace", self.path.display()).caused_by(error)
    }

    /// Lets packets pass again. Also fine when it is not locked, or does not exist.
    pub(crate) fn unlock(&self) -> Result<()> {
        let unlock = || {
            let shown = output(Command::new("tc").args(["qdisc", "show", "dev", "lo"]))?;
            match String::from_utf8_lossy(&shown).split_whitespace().any(|word| word == HANDLE) {
                true => run(Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"])),
                false => Ok(()),
            }
        };
        match self.within(unlock) {
            Err(_) if !self.exists()? => Ok(()),
            unlocked => unlocked.map_err(|error| {
                let message = "the copy's loopback interface may still be locked; `tc qdisc del dev lo root` in its namespace unlocks it";
                Error::retry(ErrorKind::Other, message).with("namespace", self.path.display()).caused_by(error)
            }),
        }
    }

    fn exists(&self) -> Result<bool> {
        if self.prepared { Ok(self.path.exists()) } else { mount::is_mounted(&self.path) }
    }

    fn within<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        within(&self.path, LinkNameSpaceType::Network, work)
    }
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("the copy's network namespace cannot be {what}; needs root, `unshare` (util-linux) and `ip` (iproute2)");
    Error::undo(ErrorKind::Unsupported, message).with("file", path.display()).caused_by(error)
}

fn run(command: &mut Command) -> io::Result<()> {
    output(command).map(drop)
}

/// The standard output of a program that must succeed.
fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(io::Error::other(format!("{name}: {}", crate::runtime::last_words(&output.stderr))))
}
