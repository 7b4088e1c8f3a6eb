//! An archive goes to an agent: two processes on this machine, mutual TLS and a digest on both sides.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use ms2m_testkit::certificates::Authority;

use crate::archive::Archive;
use crate::board::{Board, Role};
use crate::bounds;
use crate::measure::{Taken, peak_bytes, run};
use crate::secured::Ends;
use crate::stage::Stage;

const SOURCE: &str = "node-a";
const TARGET: &str = "node-b";
/// A file system in memory: what is measured there does not wait for a disk.
const MEMORY: &str = "/dev/shm";

pub(crate) fn compare(stage: &Stage, archive: &Archive) -> Result<()> {
    let authority = Authority::new()?;
    let credentials = |node: &str| stage.home().join(node);
    for node in [SOURCE, TARGET] {
        authority.issue(credentials(node), node)?;
    }
    let ends = Ends::new(&credentials(TARGET), TARGET)?;
    let bytes = archive.bytes()?;
    let memory = tempfile::tempdir_in(MEMORY).with_context(|| format!("{MEMORY} cannot be used"))?;
    let mut board = Board::new(format!("direct transfer over loopback, {}", archive.size), bytes);
    for _ in 0..stage.runs {
        let disk = stage.fresh()?;
        board.add("one SHA-256 pass", Role::Bound, Taken::here(|| bounds::digest(&archive.path)))?;
        board.add("TLS 1.3 alone", Role::Bound, Taken::here(|| ends.stream(bytes)))?;
        board.add("TCP alone", Role::Bound, Taken::here(|| bounds::tcp(bytes)))?;
        let carried = memory.path().join("carried");
        board.add("TLS, both digests and files, bare", Role::Variant, Taken::here(|| ends.carry(&archive.path, &carried)))?;
        fs::remove_file(carried)?;
        let (sent, agent) = transfer(stage, archive, &memory.path().join("incoming"))?;
        board.add("ms2m transfer to ms2m-agent, into memory", Role::Ours, Ok(sent))?;
        board.add("  the agent's memory", Role::Variant, Ok(agent))?;
        board.add("ms2m transfer to ms2m-agent, onto the disk", Role::Variant, transfer(stage, archive, &disk).map(|(sent, _)| sent))?;
    }
    print!("{board}");
    Ok(())
}

/// What the client took, and what the agent had at most.
fn transfer(stage: &Stage, archive: &Archive, storage: &Path) -> Result<(Taken, Taken)> {
    let agent = Agent::start(stage, storage)?;
    let credentials = stage.home().join(SOURCE);
    let mut command = stage.program("ms2m");
    command.arg("transfer").arg(&archive.path).arg(format!("https://{}", agent.address));
    let sent = run(command.args(["--node", TARGET, "--credentials"]).arg(credentials))?;
    let peak = Taken { peak_bytes: peak_bytes(agent.child.id()), ..sent };
    drop(agent);
    fs::remove_dir_all(storage)?;
    Ok((sent, peak))
}

/// Killed when dropped.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    fn start(stage: &Stage, storage: &Path) -> Result<Self> {
        let file = |name: &str| -> PathBuf { stage.home().join(TARGET).join(name) };
        // It must not outlive a bench that is interrupted. The main thread starts it, so that thread's end is the program's.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(stage.program("ms2m-agent").get_program());
        command.args(["--listen", "127.0.0.1", "--port", "0", "--operations-port", "0", "--allow", SOURCE, "--free-bytes-min", "0"]);
        command.arg("--storage-dir").arg(storage);
        for (option, name) in [("--certificate", "tls.crt"), ("--key", "tls.key"), ("--authority", "ca.crt")] {
            command.arg(option).arg(file(name));
        }
        let child = command.stderr(Stdio::piped()).spawn().context("ms2m-agent cannot be started")?;
        let mut agent = Self { child, address: String::new() };
        let mut log = BufReader::new(agent.child.stderr.take().context("the agent has no log")?).lines().map_while(Result::ok);
        let mut said = String::new();
        for line in log.by_ref() {
            let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = record["fields"]["checkpoints"].as_str() {
                agent.address = address.to_owned();
                break;
            }
            said.push_str(&line);
        }
        anyhow::ensure!(!agent.address.is_empty(), "the agent has ended: {said}");
        // A log that nobody reads would stop it.
        std::thread::spawn(move || log.for_each(drop));
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = (self.child.kill(), self.child.wait());
    }
}
