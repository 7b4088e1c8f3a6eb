//! An agent as a process, and its clients.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use ms2m_testkit::certificates::Authority;
use ms2m_transfer_direct::{Credentials, DirectTransfer};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The source's name, and that of the agent's node.
pub(crate) const SOURCE: &str = "node-a";
pub(crate) const TARGET: &str = "node-b";

/// A directory, certificates, and an agent that can be killed and started again over them.
pub(crate) struct Node {
    home: TempDir,
    pub(crate) source: Credentials,
}

pub(crate) struct Process {
    child: Child,
    pub(crate) checkpoints: SocketAddr,
    pub(crate) operations: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        authority.issue(home.path().join(TARGET), TARGET).unwrap();
        let source = authority.issue(home.path().join(SOURCE), SOURCE).unwrap();
        Self { source: Credentials::from_directory(source.directory), home }
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.home.path().join("incoming")
    }

    pub(crate) fn source_directory(&self) -> PathBuf {
        self.home.path().join(SOURCE)
    }

    pub(crate) fn client(&self, address: SocketAddr) -> DirectTransfer {
        DirectTransfer::to_node(&format!("https://{address}"), TARGET, self.source.clone()).unwrap()
    }

    pub(crate) fn start(&self, options: &[&str]) -> Process {
        let certificate = |name: &str| self.home.path().join(TARGET).join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_ms2m-agent"))
            .args(["--listen", "127.0.0.1", "--operations-port", "0", "--allow", SOURCE, "--free-bytes-min", "0"])
            .args(if options.contains(&"--port") { &[][..] } else { &["--port", "0"] })
            .args(options)
            .env("STORAGE_DIR", self.storage())
            .env("MS2M_CERTIFICATE", certificate("tls.crt"))
            .env("MS2M_KEY", certificate("tls.key"))
            .env("MS2M_AUTHORITY", certificate("ca.crt"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let serving = lines.by_ref().map_while(Result::ok).find_map(|line| {
            log.lock().unwrap().push_str(&format!("{line}\n"));
            let line: serde_json::Value = serde_json::from_str(&line).expect("each line of the log is JSON");
            (line["fields"]["message"] == "serving").then(|| line["fields"].clone())
        });
        let serving = serving.unwrap_or_else(|| panic!("the agent has ended: {}", log.lock().unwrap()));
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        let (checkpoints, operations) = (address("checkpoints"), address("operations"));
        let rest = Arc::clone(&log);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| rest.lock().unwrap().push_str(&format!("{line}\n"))));
        Process { child, checkpoints, operations, log }
    }
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn ended(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log.lock().unwrap());
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        peak_bytes(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// The most memory that a process has had, in bytes.
pub(crate) fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// All files below, but the lock.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else if name != ".lock" {
            found.push(name);
        }
    }
    found
}
