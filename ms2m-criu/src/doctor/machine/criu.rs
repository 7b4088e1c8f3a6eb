//! CRIU itself: version, what it thinks of the kernel, and the features that we use.

use std::path::Path;

use super::version::Version;
use crate::check::Check;
use crate::criu::{CheckOutput, Criu, CriuError};

/// Before this CRIU neither `network-lock skip` nor cgroup v2 freezing can be relied on.
const OLDEST: Version = Version(4, 0);

/// What we use when it is there, and what is lost without it. `mem_dirty_track` is told by `soft-dirty`.
const FEATURES: [(&str, &str); 4] = [
    ("pidfd_store", "pre-dump cannot tell a process from one that got the same id later"),
    ("network_lock_nftables", "network-lock nftables cannot be used"),
    ("pagemap_scan", "dirty pages are found more slowly"),
    ("seccomp_filters", "processes under a seccomp filter cannot be checkpointed"),
];

/// What CRIU has said.
pub(super) struct Answers {
    /// As it names it itself, and to compare.
    named: Result<(String, Version), CriuError>,
    check: Option<Result<CheckOutput, CriuError>>,
    missing: Vec<&'static str>,
    program: String,
    /// Whether it finds that pre-dump works.
    pub(super) tracks_memory: Option<bool>,
}

pub(super) async fn ask(program: &Path) -> Answers {
    let criu = Criu::new(program);
    let named = criu.version().await.map(|version| (version.to_string(), Version(version.major, version.minor)));
    let mut answers = Answers { named, check: None, missing: Vec::new(), program: program.display().to_string(), tracks_memory: None };
    if answers.named.is_ok() {
        answers.check = Some(criu.check(&[]).await);
        answers.tracks_memory = criu.features().await.ok().map(|features| features.mem_track);
        for (feature, _) in FEATURES {
            if !criu.check(&["--feature", feature]).await.is_ok_and(|said| said.passed) {
                answers.missing.push(feature);
            }
        }
    }
    answers
}

impl Answers {
    pub(super) fn version(&self) -> Option<Version> {
        self.named.as_ref().ok().map(|(_, version)| *version)
    }

    pub(super) fn has_feature(&self, feature: &str) -> bool {
        self.named.is_ok() && !self.missing.contains(&feature)
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.present()];
        if let Some(check) = &self.check {
            checks.push(kernel_support(check));
            checks.push(features(&self.missing));
        }
        checks
    }

    fn present(&self) -> Check {
        match &self.named {
            Err(error) => Check::fail("criu", format!("{}: {error}", self.program))
                .remedy(format!("install CRIU {OLDEST} or later, or name the program with --criu")),
            Ok((name, version)) if *version < OLDEST => {
                Check::warn("criu", format!("CRIU {name}; tested is {OLDEST} and later")).remedy(format!("install CRIU {OLDEST} or later"))
            }
            Ok((name, _)) => Check::ok("criu", format!("CRIU {name}")),
        }
    }
}

fn kernel_support(said: &Result<CheckOutput, CriuError>) -> Check {
    match said {
        Ok(said) if said.passed => Check::ok("criu-check", "`criu check` finds what it needs in the kernel"),
        Ok(said) => {
            let error = said.lines.iter().find(|line| line.contains("Error")).or(said.lines.first());
            let reason = error.map_or("it says nothing", String::as_str);
            Check::fail("criu-check", format!("`criu check` fails: {reason}"))
                .remedy("run `criu check` as root for the whole text; a kernel option or a capability is missing")
        }
        Err(error) => Check::unknown("criu-check", error.to_string()),
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
    use crate::check::CheckResult::{Fail, Ok as Good, Warn};

    fn answers(name: &str, version: Version) -> Answers {
        Answers { named: Ok((name.into(), version)), check: None, missing: Vec::new(), program: "criu".into(), tracks_memory: None }
    }

    #[test]
    fn the_program_is_judged_by_its_version() {
        assert_eq!(answers("4.2.1", Version(4, 2)).checks()[0], Check::ok("criu", "CRIU 4.2.1"));
        assert_eq!(answers("3.17.1", Version(3, 17)).checks()[0].result, Warn);
    }

    #[test]
    fn what_criu_misses_in_the_kernel_is_quoted() {
        let said = |passed, line: &str| kernel_support(&Ok(CheckOutput { passed, lines: vec!["Warn: x".into(), line.into()] }));
        assert_eq!(said(true, "Looks good.").result, Good);
        let failed = said(false, "Error (criu/cr-check.c:1): no pagemap");
        assert!(failed.result == Fail && failed.reason.contains("no pagemap"), "{failed}");
    }

    #[test]
    fn missing_features_say_what_is_lost() {
        assert_eq!(features(&[]).result, Good);
        assert!(features(&["pidfd_store"]).reason.starts_with("no pidfd_store: pre-dump"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_fails_and_has_no_features() {
        let criu = ask(Path::new("/nonexistent/criu")).await;
        let checks = criu.checks();
        assert!(checks.len() == 1 && checks[0].result == Fail, "{checks:?}");
        assert!(criu.version().is_none() && !criu.has_feature("pagemap_scan"));
    }
}
