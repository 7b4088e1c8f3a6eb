//! What of the pod moves, and what starts afresh.

use k8s_openapi::api::core::v1::Pod;
use ms2m_criu::check::Check;

pub(super) fn checks(pod: &Pod, moved: &str) -> Vec<Check> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut checks = vec![Check::ok("container", format!("{moved} moves with the state in its memory"))];
    for other in spec.containers.iter().filter(|other| other.name != moved) {
        checks.push(
            Check::warn("container", format!("{} starts afresh beside the copy: the state in its memory stays behind", other.name))
                .remedy("nothing, where it has none; the state of another container moves by the annotation migration.ms2m.io/container"),
        );
    }
    let inits: Vec<_> = spec.init_containers.iter().flatten().map(|init| init.name.as_str()).collect();
    if !inits.is_empty() {
        checks.push(Check::ok("init", format!("{} will not run again: what they have made travels", inits.join(", "))));
    }
    let restarts: i32 = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).map(|one| one.restart_count).sum();
    if restarts > 0 {
        checks.push(
            Check::warn("restarts", format!("its containers have been restarted {restarts} times")).remedy("see kubectl logs --previous"),
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_in_the_pod_is_spoken_for() {
        let pod = serde_json::from_value(json!({
            "spec": { "initContainers": [{ "name": "schema" }], "containers": [{ "name": "orders" }, { "name": "logs" }] },
            "status": { "containerStatuses": [{ "name": "orders", "image": "", "imageID": "", "ready": true, "restartCount": 3 }] },
        }))
        .unwrap();
        let told: Vec<_> = checks(&pod, "orders").iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        for (line, word) in told.iter().zip(["orders moves", "logs starts afresh", "schema will not", "3 times"]) {
            assert!(line.contains(word), "{line}");
        }
    }
}
