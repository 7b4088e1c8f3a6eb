//! What all processes of a demo have in common on their own side.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};

use super::process::ProcessId;

/// Holds the name of a process as long as it lives.
#[derive(Debug)]
pub(super) struct Name {
    _locked: File,
}

/// Takes a name and notes who has it. `None`: another process has it already, and this one has nothing to do. A driver that
/// dies between starting a process and learning of it cannot start a second one that way.
pub(super) fn take_name(path: &Path) -> Result<Option<Name>> {
    let failed = |error: std::io::Error| {
        Error::fatal(ErrorKind::Other, "a process cannot note who it is").with("file", path.display()).caused_by(error)
    };
    let mut file = File::options().write(true).create(true).truncate(false).open(path).map_err(failed)?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let id = serde_json::to_vec(&ProcessId::own()?).map_err(|error| failed(error.into()))?;
    file.set_len(0).and_then(|()| file.write_all(&id)).map_err(failed)?;
    Ok(Some(Name { _locked: file }))
}

/// Where the broker is; only in the environment, for a command line is public.
#[derive(clap::Args, Clone)]
pub(crate) struct BrokerArg {
    /// The broker.
    #[arg(long, env = super::spawn::BROKER_VARIABLE, hide_env_values = true)]
    pub(super) broker: String,
    /// The file that names this process.
    #[arg(long)]
    pub(super) process_file: PathBuf,
}

impl std::fmt::Debug for BrokerArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerArg").field("process_file", &self.process_file).finish_non_exhaustive()
    }
}

/// Runs a process' work on a runtime of its own.
pub(super) fn run(process_file: &Path, work: impl Future<Output = Result<()>>) -> crate::exit::Exit {
    let outcome = take_name(process_file).and_then(|name| {
        let Some(_name) = name else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::fatal(ErrorKind::Other, "no runtime").caused_by(error))?;
        runtime.block_on(work)
    });
    match outcome {
        Ok(()) => crate::exit::Exit::Done,
        Err(error) => {
            tracing::error!(%error, "ended");
            crate::exit::Exit::Failed
        }
    }
}
