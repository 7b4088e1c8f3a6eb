//! CRIU itself: version, what it thinks of the kernel, and the features that we use.

use std::path::Path;

use super::tool::{self, Said, ToolError};
use super::version::Version;
use crate::check::Check;

/// Before this CRIU neither `network-lock skip` nor cgroup v2 freezing can be relied on.
const OLDEST: Version = Version(4, 0);

/// What we use when it is there, and what is lost without it. `mem_dirty_track` is probed by `soft-dirty`.
const FEATURES: [(&str, &str); 4] = [
    ("pidfd_store", "pre-dump cannot tell a process from one that got the same id later"),
    ("network_lock_nftables", "network-lock nftables cannot be used"),
    ("pagemap_scan", "dirty pages are found more slowly"),
    ("seccomp_filters", "processes under a seccomp filter cannot be checkpointed"),
];

/// What CRIU has said.
pub(super) struct Criu {
    said: Result<Said, ToolError>,
    check: Option<Result<Said, ToolError>>,
    missing: Vec<&'static str>,
    name: String,
    pub(super) version: Option<Version>,
}

pub(super) async fn ask(program: &Path) -> Criu {
    let name = program.display().to_string();
    let said = tool::ask(program, ["--version"]).await;
    let version = said.as_ref().ok().filter(|said| said.success).and_then(|said| Version::find(&said.out));
    let mut criu = Criu { said, check: None, missing: Vec::new(), name, version };
    if version.is_some() {
        criu.check = Some(tool::ask(program, ["check"]).await);
        for (feature, _) in FEATURES {
            if !tool::ask(program, ["check", "--feature", feature]).await.is_ok_and(|said| said.success) {
                criu.missing.push(feature);
            }
        }
    }
    criu
}

impl Criu {
    pub(super) fn has_feature(&self, feature: &str) -> bool {
        self.version.is_some() && !self.missing.contains(&feature)
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![present(&self.name, &self.said)];
        if let Some(check) = &self.check {
            checks.push(kernel_support(check));
            checks.push(features(&self.missing));
        }
        checks
    }
}

fn present(name: &str, said: &Result<Said, ToolError>) -> Check {
    match said {
        Err(error) => Check::fail("criu", format!("{name}: {error}"))
            .remedy(format!("install CRIU {OLDEST} or later, or name the program with --criu")),
        Ok(said) => match Version::find(&said.out) {
            Some(version) if version < OLDEST => Check::warn("criu", format!("{name} is CRIU {version}; tested is {OLDEST} and later"))
                .remedy(format!("install CRIU {OLDEST} or later")),
            Some(_) => Check::ok("criu", said.out.lines().next().unwrap_or_default().replace("Version:", "CRIU")),
            None => Check::fail("criu", format!("{name} does not say its version: {}", said.complaint()))
                .remedy("name the CRIU program with --criu"),
        },
    }
}

fn kernel_support(said: &Result<Said, ToolError>) -> Check {
    match said {
        Ok(said) if said.success => Check::ok("criu-check", "`criu check` finds what it needs in the kernel"),
        Ok(said) => {
            let errors: Vec<_> = said.err.lines().chain(said.out.lines()).filter(|line| line.contains("Error")).collect();
            let reason = errors.first().copied().unwrap_or_else(|| said.complaint());
            Check::fail("criu-check", format!("`criu check` fails: {reason}"))
                .remedy("run `criu check` as root for the whole text; a kernel option or a capability is missing")
        }
        Err(error) => Check::unknown("criu-check", format!("`criu check` {error}")),
    }
}

fn features(missing: &[&str]) -> Check {
    let (lost, there): (Vec<_>, Vec<_>) = FEATURES.iter().partition(|(feature, _)| missing.contains(feature));
    if lost.is_empty() {
        return Check::ok("criu-features", there.iter().map(|(feature, _)| *feature).collect::<Vec<_>>().join(", "));
    }
    let reason = lost.iter().map(|(feature, without)| format!("no {feature}: {without}")).collect::<Vec<_>>().join("; ");
    Check::warn("criu-features", reason).remedy("a newer kernel or another build of CRIU has them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Unknown, Warn};
    use crate::doctor::tool::said;

    #[test]
    fn the_program_is_judged_by_its_version() {
        assert_eq!(present("criu", &said(true, "Version: 4.2.1\nGitID: v4.2.1\n")).reason, "CRIU 4.2.1");
        assert_eq!(present("criu", &said(true, "Version: 3.17.1\n")).result, Warn);
        assert_eq!(present("criu", &said(true, "hello\n")).result, Fail);
        let absent = present("criu", &Err(ToolError::NotFound));
        assert_eq!((absent.result, absent.reason.as_str()), (Fail, "criu: not found"));
    }

    #[test]
    fn what_criu_misses_in_the_kernel_is_quoted() {
        assert_eq!(kernel_support(&said(true, "Looks good.\n")).result, Ok);
        let failed = kernel_support(&said(false, "Warn: x\nError (criu/cr-check.c:1): no pagemap\n"));
        assert_eq!(failed.result, Fail);
        assert!(failed.reason.contains("no pagemap"));
        assert_eq!(kernel_support(&Err(ToolError::Deadline)).result, Unknown);
    }

    #[test]
    fn missing_features_say_what_is_lost() {
        assert_eq!(features(&[]).result, Ok);
        assert!(features(&["pidfd_store"]).reason.starts_with("no pidfd_store: pre-dump"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_fails_and_has_no_features() {
        let criu = ask(Path::new("/nonexistent/criu")).await;
        assert_eq!(criu.checks().len(), 1);
        assert!(!criu.has_feature("pagemap_scan"));
    }
}
