//! The server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_keeper::Keeper;

use crate::{Options, StartError, find, ready};

/// A loaded machine with two cores can take a while.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// How a server ends before it starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// As on a shutdown of its machine.
    Graceful,
    /// As on a power cut, except for the page cache.
    Kill,
}

/// A running RabbitMQ. Killed and removed when dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct RabbitMqServer {
    directory: PathBuf,
    script: PathBuf,
    amqp: SocketAddrV4,
    management: SocketAddrV4,
    distribution: u16,
    keeper: Option<Keeper>,
}

impl RabbitMqServer {
    /// Starts one and waits until it answers on AMQP and HTTP.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let script = find::start_script()?;
        let directory = tempfile::Builder::new().prefix("ms2m-rabbitmq-").tempdir().map_err(StartError::io("make", "a directory"))?.keep();
        let [amqp, management, distribution] = free_ports()?;
        let at = |port| SocketAddrV4::new(options.address, port);
        let mut server = Self { directory, script, amqp: at(amqp), management: at(management), distribution, keeper: None };
        server.write("rabbitmq.conf", &options.config(amqp, management))?;
        server.write("enabled_plugins", "[rabbitmq_management].\n")?;
        // Keeps a configuration of this machine out.
        server.write("advanced.config", "[].\n")?;
        server.launch()?;
        Ok(server)
    }

    /// Where its clients connect, credentials included.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.amqp)
    }

    /// Where its management API is, without credentials.
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("http://{}", self.management)
    }

    /// Stops it.
    pub fn stop(&mut self, how: Stop) {
        if let Some(keeper) = self.keeper.take() {
            keeper.stop(if how == Stop::Graceful { "term" } else { "kill" });
        }
    }

    /// It stands still, with its connections open, until it is [resumed](Self::resume).
    ///
    /// # Errors
    /// When it does not run.
    pub fn suspend(&self) -> std::io::Result<()> {
        self.signal("-STOP")
    }

    /// It goes on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> std::io::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> std::io::Result<()> {
        let process = fs::read_to_string(self.directory.join("server"))?;
        let done = Command::new("kill").args([signal, process.trim()]).status()?;
        if done.success() { Ok(()) } else { Err(std::io::Error::other(format!("the server does not take {signal}"))) }
    }

    /// Stops it if it runs, and starts it on the same data and ports.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn restart(&mut self, how: Stop) -> Result<(), StartError> {
        self.stop(how);
        self.launch()
    }

    fn launch(&mut self) -> Result<(), StartError> {
        // Of an earlier run.
        let _ = fs::remove_file(self.directory.join("server"));
        let environment = self.environment();
        let keeper = Keeper::start(&self.directory, &self.script, |command| {
            for (name, value) in environment {
                command.env(name, value);
            }
            command.env_remove("NOTIFY_SOCKET");
        });
        self.keeper = Some(keeper.map_err(StartError::io("run", "/bin/sh"))?);
        let deadline = Instant::now() + START_DEADLINE;
        while !(ready::amqp(self.amqp) && ready::http(self.management)) {
            let what = if Instant::now() > deadline {
                "does not answer"
            } else if has_ended(&self.directory) {
                "ended while starting"
            } else {
                sleep(Duration::from_millis(20));
                continue;
            };
            return Err(StartError::DoesNotAnswer { what, log: log_tail(&self.directory) });
        }
        Ok(())
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        // A node that is distributed when RabbitMQ boots skips RabbitMQ's start of epmd (one more Erlang VM), and with a fixed
        // port for all nodes it needs no epmd at all: nothing to share with, nothing to leave behind.
        let erlang = format!(
            "+S 2:2 -sname {} -start_epmd false -erl_epmd_port {port} \
             -kernel inet_dist_use_interface {{127,0,0,1}} inet_dist_listen_min {port} inet_dist_listen_max {port}",
            self.node(),
            port = self.distribution
        );
        vec![
            ("HOME", self.directory.display().to_string()),
            ("RABBITMQ_NODENAME", self.node()),
            ("RABBITMQ_DIST_PORT", self.distribution.to_string()),
            ("RABBITMQ_BASE", self.directory.display().to_string()),
            ("RABBITMQ_MNESIA_BASE", file("data")),
            ("RABBITMQ_LOG_BASE", file("logs")),
            ("RABBITMQ_CONFIG_FILE", file("rabbitmq")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config")),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang),
            ("ERL_CRASH_DUMP_SECONDS", "0".into()),
            // Makes the start script become the Erlang VM instead of waiting for it, so that who waits for one waits for the other.
            ("RUNNING_UNDER_SYSTEMD", "true".into()),
        ]
    }

    /// Unique, so that two servers on a machine are two nodes.
    fn node(&self) -> String {
        format!("ms2m-{}@localhost", self.distribution)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StartError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(StartError::io("write", path))
    }
}

impl Drop for RabbitMqServer {
    fn drop(&mut self) {
        match self.keeper.take() {
            Some(keeper) => keeper.clear(),
            None => drop(fs::remove_dir_all(&self.directory)),
        }
    }
}

fn free_ports() -> Result<[u16; 3], StartError> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StartError::io("bind", "a free port"));
    // Bound all at once, so that they differ.
    let listeners = [bind()?, bind()?, bind()?];
    let port = |index: usize| listeners[index].local_addr().map(|address| address.port()).map_err(StartError::io("read", "a free port"));
    Ok([port(0)?, port(1)?, port(2)?])
}

/// Its keeper waits for it only when stopping it, so until then it stays a zombie.
fn has_ended(directory: &Path) -> bool {
    let server = fs::read_to_string(directory.join("server")).unwrap_or_default();
    fs::read_to_string(format!("/proc/{}/stat", server.trim()))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

fn log_tail(directory: &Path) -> String {
    let log = fs::read(directory.join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
