//! What is applied to the cluster.

use serde_json::{Value, json};

/// Where a StatefulSet's consumer reads who it is.
pub(crate) const UID_FILE: &str = "/etc/podinfo/uid";

/// A StatefulSet of one counter that knows itself by its pod's UID, on the first node for a start.
pub(crate) fn stateful_set(image: &str, arguments: &[&str]) -> Value {
    let uid = json!({"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders"},
        "spec": {
            "replicas": 1,
            "serviceName": "orders",
            "selector": {"matchLabels": {"app": "orders"}},
            "template": {
                "metadata": {"labels": {"app": "orders", "tier": "back"}, "annotations": {"migration.ms2m.io/identity": "uid"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [{
                        "name": "counter", "image": image, "args": arguments, "resources": {"requests": {"cpu": "500m"}},
                        "volumeMounts": [{"name": "podinfo", "mountPath": "/etc/podinfo"}],
                    }],
                    "volumes": [{"name": "podinfo", "downwardAPI": {"items": [uid]}}],
                },
            },
        },
    })
}

/// The directory in which the counter of [`deployment_with_more`] keeps its ledger.
pub(crate) const LEDGER: &str = "/var/ledger";

/// The same with a volume of its pod's own, and with a container before it and one behind it that have no state.
pub(crate) fn deployment_with_more(image: &str, arguments: &[&str]) -> Value {
    let mut deployment = deployment(image, arguments);
    let spec = &mut deployment["spec"]["template"]["spec"];
    let beside = |name: &str| {
        let ledger = json!({"name": "ledger", "mountPath": "/watched", "readOnly": true});
        // It is on every node, as what pods' sandboxes are made of.
        json!({"name": name, "image": "localhost/pause:1", "imagePullPolicy": "Never", "volumeMounts": [ledger]})
    };
    let mut counter = spec["containers"][0].take();
    counter["volumeMounts"] = json!([{"name": "ledger", "mountPath": LEDGER}]);
    spec["containers"] = json!([beside("before"), counter, beside("behind")]);
    spec["volumes"] = json!([{"name": "ledger", "emptyDir": {}}]);
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({"migration.ms2m.io/container": "counter"});
    deployment
}

/// The same with probes that run programs in the container, every second, and give up with the first one that fails: less patience kubelet has for nobody.
pub(crate) fn deployment_with_probes(image: &str, arguments: &[&str]) -> Value {
    let mut deployment = deployment(image, arguments);
    let probe = json!({"exec": {"command": ["/counter", "--help"]}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1});
    let counter = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    counter["livenessProbe"] = probe.clone();
    counter["readinessProbe"] = probe;
    deployment
}

/// Where the tally of [`deployment_of_several`] listens.
pub(crate) const TALLY: &str = "127.0.0.1:7001";

/// The same with two tallies before it: nobody asks the first, which starts fresh; the counter asks the other, and they move together.
pub(crate) fn deployment_of_several((counter, tally): (&str, &str), arguments: &[&str]) -> Value {
    let mut deployment = deployment(counter, arguments);
    let spec = &mut deployment["spec"]["template"]["spec"];
    let counter = spec["containers"][0].take();
    let tally = |name: &str, address: &str| json!({"name": name, "image": tally, "args": [address]});
    spec["containers"] = json!([tally("fresh", "127.0.0.1:7002"), tally("tally", TALLY), counter]);
    deployment["spec"]["template"]["metadata"]["annotations"] =
        json!({"migration.ms2m.io/container": "counter", "migration.ms2m.io/containers": "counter,tally"});
    deployment
}

/// A Deployment of one counter, on the first node for a start: nothing holds it there.
pub(crate) fn deployment(image: &str, arguments: &[&str]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "orders"}},
            "template": {
                "metadata": {"labels": {"app": "orders", "tier": "back"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    // Without a request its share of a busy machine would be next to nothing.
                    "containers": [
                        {"name": "counter", "image": image, "args": arguments, "resources": {"requests": {"cpu": "500m"}}},
                    ],
                },
            },
        },
    })
}
