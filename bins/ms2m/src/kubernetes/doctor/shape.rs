//! What of the pod moves, and what starts afresh.

use k8s_openapi::api::core::v1::Pod;
use ms2m_criu::check::Check;

pub(super) fn checks(pod: &Pod, moved: &[String]) -> Vec<Check> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let told = |name: &String| match moved.len() {
        1 => format!("{name} moves with the state in its memory"),
        _ => format!("{name} moves with the state in its memory, and with its TCP connections to the others that move"),
    };
    let mut checks: Vec<_> = moved.iter().map(|name| Check::ok("container", told(name))).collect();
    for other in spec.containers.iter().filter(|other| !moved.contains(&other.name)) {
        checks.push(
            Check::warn("container", format!("{} starts afresh beside the copy: the state in its memory stays behind", other.name))
                .remedy("nothing, where it has none; its state moves along when the annotation migration.ms2m.io/containers names it beside the consumer"),
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
            "spec": {
                "initContainers": [{ "name": "schema" }], "containers": [{ "name": "orders" }, { "name": "logs" }, { "name": "cache" }],
            },
            "status": { "containerStatuses": [{ "name": "orders", "image": "", "imageID": "", "ready": true, "restartCount": 3 }] },
        }))
        .unwrap();
        let told = |moved: &[&str]| -> Vec<String> {
            let moved: Vec<_> = moved.iter().map(|name| (*name).to_owned()).collect();
            checks(&pod, &moved).iter().map(ToString::to_string).collect()
        };
        for (moved, words) in [
            (
                &["orders"][..],
                ["orders moves with the state in its memory", "logs starts afresh", "cache starts afresh", "schema will not", "3 times"],
            ),
            (
                &["orders", "cache"],
                ["orders moves", "cache moves with the state in its memory, and with its TCP", "logs starts afresh", "schema", "3 times"],
            ),
        ] {
            let told = told(moved);
            assert_eq!(told.len(), words.len(), "{told:?}");
            for (line, word) in told.iter().zip(words) {
                assert!(line.contains(word), "{line}");
            }
        }
    }
}
