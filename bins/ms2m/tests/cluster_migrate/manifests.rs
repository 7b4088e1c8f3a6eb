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
