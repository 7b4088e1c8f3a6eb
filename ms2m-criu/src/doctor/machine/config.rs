//! What the files in `/etc/criu` change.

use std::io;
use std::path::Path;

use super::tool::{self, Said, ToolError};
use crate::check::{Check, CheckResult};
use crate::doctor::config::{Config, DEFAULT, file_of};
use crate::doctor::host::Host;
use crate::runtime::Flavor;

pub(super) async fn checks(host: &Host, criu: &Path, wanted: Option<Flavor>) -> Vec<Check> {
    let runtimes = crate::doctor::FLAVORS.into_iter().filter(|runtime| wanted.is_none_or(|wanted| wanted == *runtime));
    let mut checks = Vec::new();
    for (file, runtime) in [(DEFAULT, None)].into_iter().chain(runtimes.map(|runtime| (file_of(runtime), Some(runtime)))) {
        let text = host.read(file);
        let accepted = match text {
            Ok(_) => Some(tool::ask(criu, ["check".as_ref(), "--config".as_ref(), host.path(file).as_os_str()]).await),
            Err(_) => None,
        };
        checks.push(check(file, runtime, text, accepted.as_ref()));
    }
    checks
}

fn check(file: &str, runtime: Option<Flavor>, text: io::Result<String>, accepted: Option<&Result<Said, ToolError>>) -> Check {
    let config = match text {
        Ok(text) => Config::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return absent(file, runtime),
        Err(error) => return Check::unknown(file, error.to_string()),
    };
    if let Some(Ok(said)) = accepted
        && let Some(line) = said.err.lines().chain(said.out.lines()).find(|line| line.contains("option"))
        && !said.success
    {
        return Check::fail(file, format!("CRIU refuses it ({line}), and then every checkpoint and restore"))
            .remedy("correct or remove that line");
    }
    let effects: Vec<_> = config.options().map(|(name, value)| effect(name, value)).collect();
    let result = effects.iter().map(|(result, _)| *result).max().unwrap_or(CheckResult::Ok);
    let mut reason = if effects.is_empty() {
        "sets nothing".to_owned()
    } else {
        effects.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")
    };
    if runtime.is_some() && !config.has("tcp-close") && !config.has("tcp-established") {
        reason += "; ";
        reason += CONNECTIONS;
        return Check::new(file, result.max(CheckResult::Warn), reason)
            .remedy(format!("add the lines `tcp-close` and `skip-in-flight` to {file}"));
    }
    let check = Check::new(file, result, reason);
    if result == CheckResult::Warn { check.remedy("remove the line unless it is meant") } else { check }
}

const CONNECTIONS: &str = "no tcp-close: a container with an established connection cannot be checkpointed by the runtime alone";

fn absent(file: &str, runtime: Option<Flavor>) -> Check {
    match runtime {
        None => Check::ok(file, "absent: CRIU's own defaults"),
        Some(_) => Check::warn(file, format!("absent; {CONNECTIONS}"))
            .remedy(format!("write the lines `tcp-close` and `skip-in-flight` to {file}")),
    }
}

/// What one line changes.
fn effect(name: &str, value: Option<&str>) -> (CheckResult, String) {
    use CheckResult::{Ok, Warn};
    let (result, text) = match (name, value) {
        ("tcp-close", _) => (Ok, "every established connection comes up closed in the copy"),
        ("tcp-established", _) => {
            (Warn, "the copy gets the source's connections: right only where the source is gone and its address moves along")
        }
        ("skip-in-flight", _) => (Ok, "connections that nobody has accepted yet are left out"),
        ("network-lock", Some("skip")) => {
            (Ok, "packets go on while frozen; saves 20 to 75 ms, right where connections are closed in the copy")
        }
        ("network-lock", Some("nftables")) => (Ok, "packets are dropped while frozen; costs about 20 ms"),
        ("network-lock", _) => (Ok, "packets are dropped while frozen; iptables costs about 75 ms"),
        ("manage-cgroups", Some("ignore")) => (Ok, "the runtime makes the copy's cgroups (crun needs that)"),
        ("manage-cgroups", _) => (Ok, "CRIU restores cgroups; crun 1.28 needs ignore"),
        ("file-locks", _) => (Ok, "file locks are carried"),
        ("ext-unix-sk", _) => (Ok, "unix sockets to the outside are allowed, and broken in the copy if nobody listens"),
        ("link-remap", _) => (Ok, "files without a name left get one while they are carried"),
        ("ghost-limit", _) => (Ok, "the largest deleted file that is carried"),
        ("shell-job", _) => (Warn, "processes on a terminal are accepted and come up on the terminal of the restore"),
        ("leave-running" | "leave-stopped", _) => {
            (Warn, "decides for every checkpoint what becomes of the source, whatever the caller asked for")
        }
        ("external", _) => (Warn, "a resource of the outside in every checkpoint, which must be there at the copy"),
        _ => (Ok, ""),
    };
    let line = value.map_or_else(|| format!("`{name}`"), |value| format!("`{name} {value}`"));
    (result, if text.is_empty() { line } else { format!("{line}: {text}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult::{Fail, Ok as Good, Warn};

    fn line(text: &str) -> Check {
        check("runc.conf", Some(Flavor::Runc), Ok(text.to_owned()), None)
    }

    #[test]
    fn lines_say_what_they_change() {
        let good = line("tcp-close\nskip-in-flight\nnetwork-lock skip\nghost-limit 4M\nverbosity 2\n");
        assert_eq!(good.result, Good, "{good}");
        assert!(good.reason.contains("`network-lock skip`: packets go on"), "{good}");
        assert_eq!(line("tcp-established\n").result, Warn);
        assert_eq!(line("tcp-close\nleave-running\n").result, Warn);
        let without = line("");
        assert!(without.result == Warn && without.remedy.as_ref().unwrap().contains("tcp-close"), "{without}");
    }

    #[test]
    fn a_missing_file_matters_to_the_runtime_only() {
        let absent = |runtime| check("x.conf", runtime, Err(io::ErrorKind::NotFound.into()), None).result;
        assert_eq!((absent(None), absent(Some(Flavor::Crun))), (Good, Warn));
        assert_eq!(check("x.conf", None, Err(io::ErrorKind::PermissionDenied.into()), None).result, CheckResult::Unknown);
    }

    #[test]
    fn a_line_that_criu_refuses_fails() {
        let said = Said { success: false, out: String::new(), err: "criu: unrecognized option '--bogus'\n".into() };
        let check = check("crun.conf", Some(Flavor::Crun), Ok("bogus\n".into()), Some(&Ok(said)));
        assert_eq!(check.result, Fail);
        assert!(check.reason.contains("--bogus"), "{check}");
    }
}
