//! An agent as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ms2m_testkit::certificates::Authority;
use ms2m_testkit_machine::workspace_program;

const SOURCE: &str = "node-a";
pub(crate) const TARGET: &str = "node-b";

pub(crate) struct Agent {
    pub(crate) url: String,
    child: Child,
    home: tempfile::TempDir,
    client: PathBuf,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        let (node, client) = (home.path().join(TARGET), home.path().join(SOURCE));
        authority.issue(&node, TARGET).unwrap();
        authority.issue(&client, SOURCE).unwrap();
        let mut child = Command::new(workspace_program("ms2m-agent", "ms2m-agent").unwrap())
            .args(["--listen", "127.0.0.1", "--port", "0", "--operations-port", "0", "--allow", SOURCE, "--free-bytes-min", "0"])
            .env("STORAGE_DIR", home.path().join("incoming"))
            .env("MS2M_CERTIFICATE", node.join("tls.crt"))
            .env("MS2M_KEY", node.join("tls.key"))
            .env("MS2M_AUTHORITY", node.join("ca.crt"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            line["fields"]["checkpoints"].as_str().map(str::to_owned)
        });
        let url = format!("https://{}", address.expect("the agent has ended"));
        // Somebody must listen, or it could not speak.
        std::thread::spawn(move || lines.for_each(drop));
        Self { url, child, home, client }
    }

    /// Who its client is.
    pub(crate) fn client(&self) -> &str {
        self.client.to_str().unwrap()
    }

    pub(crate) fn keeps_nothing(&self) {
        let kept: Vec<_> = std::fs::read_dir(self.home.path().join("incoming")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(kept.iter().all(|name| name == ".lock"), "{kept:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
