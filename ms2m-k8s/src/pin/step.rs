//! What is to be done next, by what the Deployment and the ReplicaSet look like.
//!
//! A Deployment's controller makes a new ReplicaSet, and by it a new pod, as soon as none has the Deployment's template. So the template of the present one is changed
//! as well, while the Deployment is paused, and each step waits until the controller has seen the one before.

use serde_json::{Value, json};

use crate::pod::{pin, pinned_to};

/// Annotation on a Deployment that is paused by a migration: which one.
pub(super) const PINS: &str = "migration.ms2m.io/pins";

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    /// This patch, to be merged.
    Deployment(Value),
    /// The same of the ReplicaSet.
    ReplicaSet(Value),
    /// Its controller has yet to see something.
    Wait(&'static str),
    /// Somebody else must do something.
    Obstacle(String),
    Done,
}

/// `set` is the ReplicaSet whose pod has moved, as long as it is there. `hostname` is that of the pod's node.
pub(super) fn next(deployment: &Value, set: Option<&Value>, migration: &str, hostname: &str) -> Step {
    let template = &deployment["spec"]["template"];
    let marked = deployment["metadata"]["annotations"][PINS].as_str();
    if marked != Some(migration) {
        if marked.is_none() && pinned_to(template) == Some(hostname) && *template == pinned(template, hostname) {
            return Step::Done;
        }
        return obstacle(deployment, set).map_or_else(|| pause(deployment, migration, hostname), Step::Obstacle);
    }
    let seen = deployment["status"]["observedGeneration"].as_i64() >= deployment["metadata"]["generation"].as_i64();
    let Some(set) = set else { return go_on(deployment) };
    if !seen {
        return Step::Wait("the Deployment's controller has yet to see that it is paused");
    }
    if is_of(set, template) {
        let counted = deployment["status"]["updatedReplicas"].as_i64().unwrap_or(0) > 0;
        let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1) > 0;
        return if counted || !wanted {
            go_on(deployment)
        } else {
            Step::Wait("the Deployment's controller has yet to see the ReplicaSet's template")
        };
    }
    if *template != pinned(&without_hash(&set["spec"]["template"]), hostname) {
        // Somebody has changed the Deployment meanwhile, and wants new pods.
        return go_on(deployment);
    }
    Step::ReplicaSet(patch(set, &json!({}), &json!({ "template": of_template(template) })))
}

const CHANGED: &str = "the Deployment was changed, and new pods are made of it";

/// Why a Deployment cannot be pinned without a rollout.
pub(super) fn obstacle(deployment: &Value, set: Option<&Value>) -> Option<String> {
    let spec = &deployment["spec"];
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(other) = deployment["metadata"]["annotations"][PINS].as_str() {
        return Some(format!("another migration pins it: {other}"));
    }
    if spec["paused"] == true {
        return Some(format!("it is paused: kubectl rollout resume deployment/{name}"));
    }
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    if replicas != 1 {
        return Some(format!("it has {replicas} pods, and all of them would be held on one node: Pin is for one"));
    }
    if !set.is_some_and(|set| is_of(set, &spec["template"])) {
        return Some(format!("{CHANGED}: kubectl rollout status deployment/{name}"));
    }
    None
}

/// Whether the Deployment's controller takes the ReplicaSet for the present one.
fn is_of(set: &Value, template: &Value) -> bool {
    without_hash(&set["spec"]["template"]) == without_hash(template)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    template
}

fn pinned(template: &Value, hostname: &str) -> Value {
    let mut template = template.clone();
    pin(&mut template, hostname);
    template
}

fn pause(deployment: &Value, migration: &str, hostname: &str) -> Step {
    let template = pinned(&deployment["spec"]["template"], hostname);
    let spec = json!({ "paused": true, "template": of_template(&template) });
    Step::Deployment(patch(deployment, &json!({ PINS: migration }), &spec))
}

fn go_on(deployment: &Value) -> Step {
    Step::Deployment(patch(deployment, &json!({ PINS: null }), &json!({ "paused": null })))
}

/// What a pin changes of a template.
fn of_template(pinned: &Value) -> Value {
    json!({ "metadata": { "annotations": pinned["metadata"]["annotations"] }, "spec": { "affinity": pinned["spec"]["affinity"] } })
}

/// Of this object as it was read, and of no later version or other object.
fn patch(object: &Value, annotations: &Value, spec: &Value) -> Value {
    let meta = &object["metadata"];
    json!({
        "metadata": { "uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "annotations": annotations },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATION: &str = "m-1";

    /// Applies a patch as the API server does, and counts the generation.
    fn apply(object: &mut Value, patch: &Value) {
        fn merge(to: &mut Value, patch: &Value) {
            let Value::Object(fields) = patch else { return *to = patch.clone() };
            if !to.is_object() {
                *to = json!({});
            }
            for (field, value) in fields {
                match value {
                    Value::Null => drop(to.as_object_mut().unwrap().remove(field)),
                    value => merge(&mut to[field], value),
                }
            }
        }
        for field in ["uid", "resourceVersion"] {
            assert_eq!(patch["metadata"][field], object["metadata"][field], "{field}");
        }
        let spec = object["spec"].clone();
        merge(object, patch);
        let count = |number: &Value| number.as_i64().unwrap() + 1;
        object["metadata"]["resourceVersion"] = count(&object["metadata"]["resourceVersion"]).into();
        if object["spec"] != spec {
            object["metadata"]["generation"] = count(&object["metadata"]["generation"]).into();
        }
    }

    /// A Deployment of one pod, and its ReplicaSet.
    fn workload(affinity: &Value) -> (Value, Value) {
        let meta = json!({ "name": "orders", "uid": "u", "resourceVersion": 7, "generation": 3 });
        let mut template = json!({ "metadata": { "labels": { "app": "orders" } }, "spec": { "containers": [{ "name": "orders" }] } });
        if affinity.is_object() {
            template["spec"]["affinity"] = affinity.clone();
        }
        let status = json!({ "observedGeneration": 3, "updatedReplicas": 1 });
        let deployment = json!({ "metadata": meta, "spec": { "replicas": 1, "template": template }, "status": status });
        let mut set = json!({ "metadata": meta, "spec": { "replicas": 1, "template": template } });
        set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = "5d".into();
        (deployment, set)
    }

    /// What the Deployment's controller does when it has seen both; whether it would make a new ReplicaSet.
    fn controller(deployment: &mut Value, set: &Value) -> bool {
        let is_current = is_of(set, &deployment["spec"]["template"]);
        deployment["status"] =
            json!({ "observedGeneration": deployment["metadata"]["generation"], "updatedReplicas": i64::from(is_current) });
        !is_current && deployment["spec"]["paused"] != true
    }

    /// Until it is done; how many steps that were, and what of them were waits before the controller had looked.
    fn run(deployment: &mut Value, set: &mut Value, hostname: &str) -> (usize, usize) {
        let (mut steps, mut waits) = (0, 0);
        for _ in 0..20 {
            match next(deployment, Some(set), MIGRATION, hostname) {
                Step::Done => return (steps, waits),
                Step::Obstacle(why) => panic!("{why}"),
                Step::Wait(_) => {
                    waits += 1;
                    assert!(!controller(deployment, set), "a rollout: {deployment:#}");
                }
                Step::Deployment(patch) => apply(deployment, &patch),
                Step::ReplicaSet(patch) => apply(set, &patch),
            }
            steps += 1;
        }
        panic!("it does not end: {deployment:#} {set:#}");
    }

    #[test]
    fn a_deployment_is_pinned_and_pinned_elsewhere_and_no_rollout_begins() {
        let own = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] },
        ] } } });
        for affinity in [Value::Null, own] {
            let (mut deployment, mut set) = workload(&affinity);
            for hostname in ["n1", "n2"] {
                assert_eq!(run(&mut deployment, &mut set, hostname), (5, 2), "pause, wait, the ReplicaSet, wait, go on");
                assert_eq!(pinned_to(&deployment["spec"]["template"]), Some(hostname));
                assert_eq!(deployment["spec"]["template"], pinned(&workload(&affinity).0["spec"]["template"], hostname));
                assert!(!controller(&mut deployment, &set));
                assert!(deployment["spec"].get("paused").is_none() && deployment["metadata"]["annotations"] == json!({}));
                assert_eq!(set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], "5d", "the pod stays one of it");
                assert_eq!(run(&mut deployment, &mut set, hostname), (0, 0), "it may be repeated");
            }
        }
    }

    #[test]
    fn whoever_goes_on_after_a_crash_ends_at_the_same() {
        let (mut deployment, mut set) = workload(&Value::Null);
        run(&mut deployment, &mut set, "n2");
        for crash_after in 0..5 {
            let (mut again, mut set_again) = workload(&Value::Null);
            for _ in 0..crash_after {
                match next(&again, Some(&set_again), MIGRATION, "n2") {
                    Step::Deployment(patch) => apply(&mut again, &patch),
                    Step::ReplicaSet(patch) => apply(&mut set_again, &patch),
                    Step::Wait(_) => drop(controller(&mut again, &set_again)),
                    other => panic!("{other:?}"),
                }
            }
            run(&mut again, &mut set_again, "n2");
            assert_eq!((&again["spec"], &set_again["spec"]), (&deployment["spec"], &set["spec"]), "after {crash_after} steps");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let (deployment, set) = workload(&Value::Null);
        for (path, value, said) in [
            ("/spec/paused", json!(true), "rollout resume"),
            ("/spec/replicas", json!(3), "it has 3 pods"),
            ("/spec/replicas", json!(0), "it has 0 pods"),
            ("/spec/template/spec/containers/0/name", json!("other"), "rollout status"),
            ("/metadata/annotations", json!({ PINS: "m-0" }), "another migration pins it: m-0"),
        ] {
            let mut deployment = deployment.clone();
            let (parent, field) = path.rsplit_once('/').unwrap();
            deployment.pointer_mut(parent).unwrap()[field] = value;
            let Step::Obstacle(why) = next(&deployment, Some(&set), MIGRATION, "n2") else { panic!("{path}") };
            assert!(why.contains(said), "{why}");
        }
        assert!(matches!(next(&deployment, None, MIGRATION, "n2"), Step::Obstacle(_)), "its ReplicaSet is gone");
    }

    #[test]
    fn a_change_that_somebody_makes_while_it_is_paused_is_rolled_out() {
        let (mut deployment, mut set) = workload(&Value::Null);
        let Step::Deployment(patch) = next(&deployment, Some(&set), MIGRATION, "n2") else { panic!() };
        apply(&mut deployment, &patch);
        deployment["spec"]["template"]["spec"]["containers"][0]["name"] = "other".into();
        run(&mut deployment, &mut set, "n2");
        assert!(controller(&mut deployment, &set), "its controller makes the new pod");
        assert_eq!(set, workload(&Value::Null).1, "the old ones are not touched");
    }
}
