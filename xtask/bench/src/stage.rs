//! What all comparisons share: a directory, programs, the options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::args::Args;
use crate::tool;

pub(crate) struct Stage {
    home: TempDir,
    programs: PathBuf,
    without: Vec<String>,
    pub(crate) runs: u32,
}

impl Stage {
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let programs = match &args.programs {
            Some(programs) => programs.clone(),
            None => std::env::current_exe()?.parent().unwrap_or(Path::new(".")).to_owned(),
        };
        for program in ["ms2m", "ms2m-agent"] {
            if !programs.join(program).is_file() {
                bail!("{program} is not in {}: build it (cargo xtask bench does), or name its place with --programs", programs.display());
            }
        }
        let home = tempfile::Builder::new().prefix("ms2m-bench-").tempdir_in(&args.directory);
        let home = home.with_context(|| format!("{} cannot be used; --directory names another place", args.directory.display()))?;
        Ok(Self { home, programs, without: args.without.clone(), runs: args.runs })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Whether another tool takes part; says so when it is missing.
    pub(crate) fn has(&self, tool: &str) -> bool {
        if self.without.iter().any(|left_out| left_out == tool) {
            return false;
        }
        let found = tool::is_installed(tool);
        if !found {
            println!("{tool} is missing, its rows are left out: `apt-get install {tool}` as root on Debian brings it");
        }
        found
    }

    /// An empty directory, with the disk at rest: what was written before is not to be paid by what is measured next.
    pub(crate) fn fresh(&self) -> Result<PathBuf> {
        let path = self.home.path().join("run");
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        fs::create_dir(&path)?;
        rustix::fs::sync();
        Ok(path)
    }
}
