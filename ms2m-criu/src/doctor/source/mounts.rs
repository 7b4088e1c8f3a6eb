//! What is mounted into the container from outside.

use std::path::Path;

use serde_json::Value;

use super::container::Container;
use super::subject::{Subject, some};
use crate::check::Check;
use crate::runtime::is_of_the_pod;

/// What becomes of a mount.
enum Fate {
    /// The kubelet or the runtime makes it again.
    MadeAgain,
    /// Its content travels along.
    Carried,
    /// It is a directory or file of this machine, or a volume that only one node can have.
    Stays { writable: bool },
}

pub(super) fn checks(subject: &Subject) -> Vec<Check> {
    let Some(container) = &subject.container else { return Vec::new() };
    const NAME: &str = "mounts";
    let Some(mounts) = container.spec.get("mounts").and_then(Value::as_array) else {
        return vec![match container.spec {
            Value::Null => {
                Check::unknown(NAME, "the bundle's config.json cannot be read").remedy("keep the bundle as long as the container runs")
            }
            _ => Check::ok(NAME, "none from outside"),
        }];
    };
    let (mut writable, mut readable, mut fine) = (Vec::new(), Vec::new(), 0);
    for mount in mounts {
        let text = |key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default();
        let shown = format!("{} at {}", text("source"), text("destination"));
        match fate(mount) {
            Fate::Stays { writable: true } => writable.push(shown),
            Fate::Stays { writable: false } => readable.push(shown),
            Fate::MadeAgain | Fate::Carried => fine += 1,
        }
    }
    let mut checks = Vec::new();
    if !writable.is_empty() {
        checks.push(stays(container, &writable));
    }
    if !readable.is_empty() {
        checks.push(
            Check::warn(NAME, format!("read-only from this machine: {}", some(&readable)))
                .remedy("the same content must lie at the same place where the copy comes up"),
        );
    }
    if checks.is_empty() {
        checks.push(Check::ok(NAME, format!("{fine}, all of them made again or carried along")));
    }
    checks
}

fn stays(container: &Container, writable: &[String]) -> Check {
    let reason = format!("writable, and bound to this machine: {}", some(writable));
    if container.is_kubernetes() {
        return Check::fail("mounts", reason).remedy("use an emptyDir (which is carried), or a volume that both nodes can write (ReadWriteMany), instead of hostPath and ReadWriteOnce");
    }
    Check::warn("mounts", reason)
        .remedy("fine for a copy on this machine, which then shares them with the source; another node needs shared storage there")
}

fn fate(mount: &Value) -> Fate {
    let text = |key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default();
    let options: Vec<_> = mount.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let bound = text("type") == "bind" || options.iter().any(|option| matches!(*option, "bind" | "rbind"));
    let (source, destination) = (text("source"), text("destination"));
    const KUBELET: [&str; 6] = [
        "/kubernetes.io~configmap/",
        "/kubernetes.io~secret/",
        "/kubernetes.io~projected/",
        "/kubernetes.io~downward-api/",
        "/etc-hosts",
        "/containers/",
    ];
    const ENGINE: [&str; 5] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/run/.containerenv"];
    if !bound || ENGINE.contains(&destination) {
        Fate::MadeAgain
    } else if is_of_the_pod(Path::new(destination), Path::new(source)) {
        Fate::Carried
    } else if source.contains("/pods/") && KUBELET.iter().any(|part| source.contains(part)) {
        Fate::MadeAgain
    } else {
        Fate::Stays { writable: !options.contains(&"ro") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{self, Fail, Ok, Unknown, Warn};

    fn result(mount: &str, annotations: &str) -> CheckResult {
        let spec = format!(r#"{{"annotations": {annotations}, "mounts": [{{"type": "proc", "destination": "/proc"}}, {mount}]}}"#);
        checks(&Tree::new().container(&spec))[0].result
    }

    #[test]
    fn what_is_bound_to_the_machine_is_told() {
        let cri = r#"{"io.kubernetes.cri.container-type": "container"}"#;
        let bind = |source: &str, option: &str| {
            format!(r#"{{"type": "bind", "source": "{source}", "destination": "/data", "options": ["rbind", "{option}"]}}"#)
        };
        assert_eq!(result(&bind("/srv/data", "rw"), cri), Fail);
        assert_eq!(result(&bind("/srv/data", "rw"), "{}"), Warn);
        assert_eq!(result(&bind("/srv/data", "ro"), cri), Warn);
        let volume = |kind: &str| bind(&format!("/var/lib/kubelet/pods/u/volumes/kubernetes.io~{kind}/v"), "rw");
        assert_eq!(result(&volume("empty-dir"), cri), Ok);
        assert_eq!(result(&volume("configmap"), cri), Ok);
        assert_eq!(result(&volume("csi"), cri), Fail);
    }

    #[test]
    fn a_container_without_mounts_and_one_without_a_bundle() {
        assert_eq!(checks(&Tree::new().container("{}"))[0].result, Ok);
        assert_eq!(checks(&Tree::new().container("null"))[0].result, Unknown);
        assert!(checks(&Tree::new().subject()).is_empty());
    }
}
