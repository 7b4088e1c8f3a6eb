//! What a checkpoint is held against: the machine on which it would be restored.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The facts of a machine that decide about a restore.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Here {
    /// As in `uname -m`.
    pub architecture: String,
    /// As in `uname -r`.
    pub kernel: String,
    /// CRIU's version, if it is installed.
    pub criu: Option<String>,
    /// CPU features by the names of `/proc/cpuinfo`; none if that could not be read.
    pub cpu_features: Option<BTreeSet<String>>,
    /// Bytes of memory that could be used.
    pub memory_available: Option<u64>,
}

impl Here {
    /// This machine. Takes no root; what cannot be found out stays open.
    #[must_use]
    pub fn probe() -> Self {
        let uname = rustix::system::uname();
        let text = |path: &str| {
            let mut text = String::new();
            let file = fs::File::open(path).ok()?;
            file.take(1 << 20).read_to_string(&mut text).ok()?;
            Some(text)
        };
        Self {
            architecture: uname.machine().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            criu: criu_version(),
            cpu_features: text("/proc/cpuinfo").as_deref().and_then(features),
            memory_available: text("/proc/meminfo").as_deref().and_then(available),
        }
    }
}

fn features(cpuinfo: &str) -> Option<BTreeSet<String>> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    Some(line.split_once(':')?.1.split_whitespace().map(str::to_owned).collect())
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
}

/// What `criu --version` says, if it says it soon.
fn criu_version() -> Option<String> {
    let mut child = Command::new("criu").arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
    let mut text = String::new();
    child.stdout.take()?.take(4096).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Version:")).map(|version| version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_understood() {
        assert_eq!(features("processor : 0\nflags\t\t: fpu sse avx\n").unwrap().len(), 3);
        assert_eq!(available("MemTotal: 5 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!((features(""), available("MemAvailable: x kB")), (None, None));
        assert!(!Here::probe().kernel.is_empty());
    }
}
