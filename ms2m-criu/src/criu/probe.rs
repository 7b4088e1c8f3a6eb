//! What this CRIU is and can do here.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::Criu;
use super::call::{Call, nothing};
use super::error::CriuError;
use super::wire::{self, Request, RequestType, Response};

const PROBE_MAX: Duration = Duration::from_secs(20);
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// A release of CRIU.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number; 0 when there is none.
    pub sublevel: u32,
    /// The commit, where it was built from a checkout.
    pub git_id: Option<String>,
}

impl Version {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(3, '.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (numbers.next()??, numbers.next()??);
        let sublevel = numbers.next().map_or(Some(0), |number| number)?;
        Some(Self { major, minor, sublevel, git_id: None })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.sublevel {
            0 => Ok(()),
            sublevel => write!(f, ".{sublevel}"),
        }
    }
}

/// What CRIU together with this kernel can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Memory can be tracked: pre-dump works.
    pub mem_track: bool,
    /// Pages can be brought after the restore.
    pub lazy_pages: bool,
    /// Processes can be told apart from later ones with the same id, over several pre-dumps.
    pub pidfd_store: bool,
}

/// What `criu check` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckOutput {
    /// Whether it was satisfied.
    pub passed: bool,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Criu {
    /// Its version.
    ///
    /// # Errors
    /// When it is not there, or is no CRIU.
    pub async fn version(&self) -> Result<Version, CriuError> {
        let answer = self.ask("version", RequestType::Version, None).await?;
        let version = answer.version.ok_or_else(|| CriuError::Answer { operation: "version", why: "it names none".to_owned() })?;
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        let (major, minor, sublevel) = (number(version.major), number(version.minor), number(version.sublevel.unwrap_or_default()));
        Ok(Version { major, minor, sublevel, git_id: version.git_id.filter(|id| !id.is_empty() && id != "0") })
    }

    /// What it can do with this kernel.
    ///
    /// # Errors
    /// As [`version`](Self::version).
    pub async fn features(&self) -> Result<Features, CriuError> {
        let wanted = wire::Features { mem_track: Some(true), lazy_pages: Some(true), pidfd_store: Some(true) };
        let answer = self.ask("feature check", RequestType::FeatureCheck, Some(wanted)).await?;
        let found = answer.features.unwrap_or_default();
        let yes = |feature: Option<bool>| feature.unwrap_or_default();
        Ok(Features { mem_track: yes(found.mem_track), lazy_pages: yes(found.lazy_pages), pidfd_store: yes(found.pidfd_store) })
    }

    async fn ask(&self, operation: &'static str, kind: RequestType, features: Option<wire::Features>) -> Result<Response, CriuError> {
        let call = Call { criu: self, operation, kind, deadline: PROBE_MAX, log: None, moment: "" };
        let request = Request { kind: kind.into(), features, ..Request::default() };
        let (answer, mut session) = call.perform(request, nothing).await?;
        session.finish().await;
        Ok(answer)
    }

    /// Runs `criu check` with these arguments, for example `["--all"]` or `["--feature", "mem_dirty_track"]`.
    ///
    /// # Errors
    /// When it cannot be run. That the check fails is no error.
    pub async fn check(&self, arguments: &[&str]) -> Result<CheckOutput, CriuError> {
        let mut command = Command::from(self.command());
        command.arg("check").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let late = |_| CriuError::Deadline { operation: "check", deadline: PROBE_MAX, log: Vec::new() };
        let output = timeout(PROBE_MAX, command.output()).await.map_err(late)?;
        let output = output.map_err(|source| CriuError::Start { program: self.first_program(), source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(OUTPUT_BYTES_MAX)]).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        let lines = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Ok(CheckOutput { passed: output.status.success(), lines })
    }
}
