//! runc and crun: there, which version, and able to checkpoint.

use serde_json::Value;

use super::tool::{self, Said, ToolError};
use crate::check::{Check, CheckResult};
use crate::runtime::Flavor;

pub(super) async fn checks(wanted: Option<Flavor>) -> Vec<Check> {
    let mut checks = Vec::new();
    for runtime in crate::doctor::FLAVORS.into_iter().filter(|runtime| wanted.is_none_or(|wanted| wanted == *runtime)) {
        let version = tool::ask(crate::doctor::name(runtime), ["--version"]).await;
        let features = tool::ask(crate::doctor::name(runtime), ["features"]).await;
        checks.push(check(runtime, wanted.is_some(), &version, &features));
    }
    // One of the two is enough.
    if wanted.is_none() && checks.iter().any(|check| check.result == CheckResult::Ok) {
        for check in checks.iter_mut().filter(|check| check.result == CheckResult::Fail) {
            check.result = CheckResult::Warn;
        }
    }
    checks
}

fn check(runtime: Flavor, wanted: bool, version: &Result<Said, ToolError>, features: &Result<Said, ToolError>) -> Check {
    let name = crate::doctor::name(runtime);
    let version = match version {
        Ok(said) if said.success => said.out.lines().next().unwrap_or_default().to_owned() + built_with_criu(runtime, &said.out),
        Ok(said) => {
            return Check::fail(name, format!("`{name} --version` fails: {}", said.complaint())).remedy(format!("reinstall {name}"));
        }
        Err(ToolError::NotFound) if !wanted => {
            return Check::new(name, CheckResult::Warn, "not found").remedy(format!("install {name} if containers are to run under it"));
        }
        Err(error) => return Check::fail(name, format!("{name}: {error}")).remedy(format!("install {name}")),
    };
    let remedy = match runtime {
        Flavor::Runc => "install a runc that was built with checkpoint support",
        Flavor::Crun => "install libcriu (Debian: libcriu2), and a crun that was built with it (+CRIU in `crun --version`)",
    };
    match features.as_ref().ok().filter(|said| said.success).and_then(|said| checkpoints(runtime, &said.out)) {
        Some(true) => Check::ok(name, format!("{version}, checkpoints")),
        Some(false) => Check::fail(name, format!("{version}, but it cannot checkpoint")).remedy(remedy),
        None => Check::unknown(name, format!("{version}; `{name} features` does not say whether it can checkpoint")),
    }
}

/// What crun says of itself; the library is loaded later, so that this alone does not mean much.
fn built_with_criu(runtime: Flavor, version: &str) -> &'static str {
    match runtime {
        Flavor::Crun if version.split_whitespace().any(|word| word == "+CRIU") => " (+CRIU)",
        Flavor::Crun => " (built without CRIU)",
        Flavor::Runc => "",
    }
}

fn checkpoints(runtime: Flavor, features: &str) -> Option<bool> {
    let features: Value = serde_json::from_str(features).ok()?;
    let key = match runtime {
        Flavor::Runc => "org.opencontainers.runc.checkpoint.enabled",
        Flavor::Crun => "run.oci.crun.checkpoint.enabled",
    };
    features.get("annotations")?.get(key)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult::{Fail, Ok, Unknown, Warn};
    use crate::doctor::tool::said;

    const CAN: &str =
        r#"{"annotations": {"run.oci.crun.checkpoint.enabled": "true", "org.opencontainers.runc.checkpoint.enabled": "true"}}"#;

    #[test]
    fn a_runtime_must_be_able_to_checkpoint() {
        let crun = said(true, "crun version 1.28\n+SYSTEMD +CRIU\n");
        let line = check(Flavor::Crun, true, &crun, &said(true, CAN));
        assert_eq!((line.result, line.reason.as_str()), (Ok, "crun version 1.28 (+CRIU), checkpoints"));
        assert_eq!(check(Flavor::Crun, true, &crun, &said(true, &CAN.replace("true", "false"))).result, Fail);
        assert_eq!(check(Flavor::Crun, true, &crun, &said(true, "{}")).result, Unknown);
        assert_eq!(check(Flavor::Runc, true, &said(false, ""), &said(true, CAN)).result, Fail);
    }

    #[test]
    fn a_runtime_that_nobody_wants_may_be_missing() {
        let line = |wanted| check(Flavor::Runc, wanted, &Err(ToolError::NotFound), &Err(ToolError::NotFound)).result;
        assert_eq!((line(true), line(false)), (Fail, Warn));
    }
}
