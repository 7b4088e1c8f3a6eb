//! The server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_keeper::Keeper;

use crate::options::HTPASSWD;
use crate::{Options, StartError, find};

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running registry. Killed and removed when dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct RegistryServer {
    directory: PathBuf,
    address: SocketAddr,
    keeper: Option<Keeper>,
}

impl RegistryServer {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let program = find::program()?;
        let directory = tempfile::Builder::new().prefix("ms2m-registry-").tempdir().map_err(StartError::io("make", "a directory"))?.keep();
        let mut server = Self { directory, address: (Ipv4Addr::LOCALHOST, 0).into(), keeper: None };
        server.address = match options.address {
            Some(address) => address,
            None => free_port()?,
        };
        server.write("config.yml", &options.config(server.address, &server.directory))?;
        server.write("htpasswd", HTPASSWD)?;
        let config = server.directory.join("config.yml");
        let keeper = Keeper::start(&server.directory, &program, |command| {
            command.arg("serve").arg(config);
        });
        server.keeper = Some(keeper.map_err(StartError::io("run", "/bin/sh"))?);
        server.answers()?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn answers(&self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_DEADLINE;
        while TcpStream::connect(self.address()).is_err() {
            let what = if Instant::now() > deadline {
                "does not answer"
            } else if has_ended(&self.directory) {
                "ended while starting"
            } else {
                sleep(Duration::from_millis(10));
                continue;
            };
            return Err(StartError::DoesNotAnswer { what, log: log_tail(&self.directory) });
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StartError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(StartError::io("write", path))
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        match self.keeper.take() {
            Some(keeper) => keeper.clear(),
            None => drop(fs::remove_dir_all(&self.directory)),
        }
    }
}

fn free_port() -> Result<SocketAddr, StartError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StartError::io("bind", "a free port"))?;
    listener.local_addr().map_err(StartError::io("read", "a free port"))
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
