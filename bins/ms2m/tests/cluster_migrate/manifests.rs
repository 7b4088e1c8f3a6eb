//! What is applied to the cluster.

use serde_json::{Value, json};

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
