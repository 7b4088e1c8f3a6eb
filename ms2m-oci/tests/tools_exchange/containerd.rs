//! A containerd of the test's own, without its CRI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::tool::run;

pub(crate) struct Containerd {
    process: Child,
    socket: PathBuf,
}

impl Containerd {
    pub(crate) fn start(home: &Path) -> Self {
        fs::create_dir_all(home).unwrap();
        let (config, socket) = (home.join("config.toml"), home.join("socket"));
        let plugins = ["grpc.v1.cri", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper"];
        let disabled: Vec<_> = plugins.iter().map(|plugin| format!("\"io.containerd.{plugin}\"")).collect();
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{}]\n[grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {:?}\n",
            home.join("root"),
            home.join("state"),
            disabled.join(", "),
            home.join("ttrpc")
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(home.join("log")).unwrap();
        let mut command = Command::new("containerd");
        let process = command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let containerd = Self { process, socket };
        let since = Instant::now();
        while !Command::new("ctr").arg("--address").arg(&containerd.socket).arg("version").output().unwrap().status.success() {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "containerd does not start: {}",
                fs::read_to_string(home.join("log")).unwrap()
            );
            thread::sleep(Duration::from_millis(100));
        }
        containerd
    }

    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        run(Command::new("ctr").arg("--address").arg(&self.socket).args(arguments))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
