//! What a test may want of its machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Which cgroups a machine sees. Either way they are its own and end with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cgroups {
    /// cgroup v2 alone at `/sys/fs/cgroup`, whatever the host has: works with runc and crun.
    #[default]
    V2,
    /// The hierarchies that the host has: v1 with v2 at `unified` on some, the same as [`Self::V2`] on most. Not for crun.
    Host,
}

/// How to start a machine. The default has cgroup v2 and CRIU as it comes.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) cgroups: Cgroups,
    pub(crate) criu_conf: BTreeMap<String, String>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) rabbitmq: bool,
    pub(crate) may_leave: bool,
    pub(crate) deadline: Duration,
    pub(crate) memory_mib: u32,
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) seen: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cgroups: Cgroups::default(),
            criu_conf: BTreeMap::new(),
            environment: Vec::new(),
            rabbitmq: false,
            may_leave: false,
            deadline: Duration::from_secs(300),
            memory_mib: 2048,
            programs: Vec::new(),
            seen: Vec::new(),
        }
    }
}

impl Options {
    /// Which cgroups it sees.
    #[must_use]
    pub fn cgroups(mut self, cgroups: Cgroups) -> Self {
        self.cgroups = cgroups;
        self
    }

    /// The content of `/etc/criu/NAME.conf`: CRIU reads `default.conf`, runc adds `runc.conf`, crun `crun.conf`. One option a line,
    /// as in `manage-cgroups=ignore`.
    #[must_use]
    pub fn criu_conf(mut self, name: &str, content: &str) -> Self {
        self.criu_conf.insert(name.to_owned(), content.to_owned());
        self
    }

    /// A variable for the body that [`inside`](crate::inside) runs.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the body a RabbitMQ, one for all tests of the program: [`Here::amqp_url`](crate::Here::amqp_url).
    #[must_use]
    pub fn rabbitmq(mut self) -> Self {
        self.rabbitmq = true;
        self
    }

    /// Lets the body leave something over; without this [`inside`](crate::inside) fails the test then.
    #[must_use]
    pub fn may_leave(mut self) -> Self {
        self.may_leave = true;
        self
    }

    /// A directory of the host that a private machine sees under its own path, read-only, besides the workspace and its target directory.
    #[must_use]
    pub fn sees(mut self, directory: impl Into<PathBuf>) -> Self {
        self.seen.push(directory.into());
        self
    }

    /// How long the body may run before its machine is ended and the test fails. The default is 5 minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The memory of a virtual machine, 2 GiB unless set. A private machine has the host's.
    #[must_use]
    pub fn memory_mib(mut self, mebibytes: u32) -> Self {
        self.memory_mib = mebibytes;
        self
    }

    /// A program that a virtual machine gets, in `/share`: see [`vm::program`](crate::vm::program). A private machine sees them all.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.programs.push(path.into());
        self
    }
}
