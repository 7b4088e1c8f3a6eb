//! Probes that could take a freeze for a death.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use ms2m_criu::check::Check;

/// Small processes are frozen for a tenth of this; those of some gigabytes, or on a busy node, for all of it.
const FREEZE: Duration = Duration::from_secs(3);

pub(super) fn checks(pod: &Pod, moved: &str) -> Vec<Check> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter(|container| container.name == moved).flat_map(of_container).collect()
}

fn of_container(container: &Container) -> Vec<Check> {
    let mut checks = Vec::new();
    let name = &container.name;
    if let Some(probe) = &container.liveness_probe {
        checks.push(line(name, "liveness", probe, "it is killed, and its state is lost"));
    }
    if let Some(probe) = &container.readiness_probe {
        checks.push(line(name, "readiness", probe, "it gets no traffic for a while"));
    }
    if checks.is_empty() {
        checks.push(Check::ok("probes", format!("{name} has none that could take a freeze for its death")));
    }
    checks
}

fn line(container: &str, kind: &str, probe: &Probe, consequence: &str) -> Check {
    let patience = patience(probe);
    let lasts = format!("the {kind} probe of {container} gives up when it has not answered for {} s", patience.as_secs());
    if patience >= FREEZE {
        return Check::ok("probes", format!("{lasts}: longer than a freeze"));
    }
    Check::warn("probes", format!("{lasts}: if it is frozen for longer, {consequence}"))
        .remedy(format!("a larger timeoutSeconds or failureThreshold, for {} s together", FREEZE.as_secs()))
}

/// How long a container may be silent: from the begin of the first probe that fails to the end of the last one.
fn patience(probe: &Probe) -> Duration {
    let or =
        |field: Option<i32>, default: u64| field.and_then(|field| u64::try_from(field).ok()).filter(|field| *field > 0).unwrap_or(default);
    let (failures, period, timeout) = (or(probe.failure_threshold, 3), or(probe.period_seconds, 10), or(probe.timeout_seconds, 1));
    Duration::from_secs((failures - 1) * period + timeout)
}

#[cfg(test)]
mod tests {
    use ms2m_criu::check::CheckResult;
    use serde_json::{Value, json};

    use super::*;

    fn told(container: &Value) -> Vec<Check> {
        checks(&serde_json::from_value(json!({ "spec": { "containers": [container] } })).unwrap(), "orders")
    }

    #[test]
    fn a_probe_must_be_more_patient_than_a_freeze_lasts() {
        let hasty = json!({ "httpGet": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 2 });
        let told = told(&json!({ "name": "orders", "livenessProbe": { "exec": {} }, "readinessProbe": hasty }));
        let [liveness, readiness] = told.as_slice() else { panic!("{told:?}") };
        assert!(liveness.result == CheckResult::Ok && liveness.reason.contains("21 s"), "{liveness}");
        assert!(readiness.result == CheckResult::Warn && readiness.reason.contains("2 s") && readiness.remedy.is_some(), "{readiness}");
    }

    #[test]
    fn only_what_moves_is_frozen() {
        assert_eq!(told(&json!({ "name": "orders" }))[0].result, CheckResult::Ok);
        assert!(told(&json!({ "name": "logs", "livenessProbe": { "exec": {}, "failureThreshold": 1 } })).is_empty());
    }
}
