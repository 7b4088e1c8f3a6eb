//! What the API server takes as a migration, and what it says of the rest.

use ms2m_testkit_cluster::{Cluster, Options};
use serde_json::{Value, json};

const DEFINITION: &str = include_str!("../../deploy/crds/statefulmigrations.yaml");

fn migration(name: &str, spec: &Value) -> String {
    json!({ "apiVersion": "migration.ms2m.io/v1alpha1", "kind": "StatefulMigration", "metadata": { "name": name }, "spec": spec })
        .to_string()
}

fn minimal() -> Value {
    json!({
        "sourcePod": "orders-0", "transferMode": "Direct",
        "messageQueueConfig": { "queueName": "orders", "brokerSecretRef": { "name": "broker" } },
    })
}

/// The minimal spec with a field set to something else; `null` takes it away.
fn with(path: &str, value: Value) -> Value {
    let mut spec = minimal();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap_or_else(|| panic!("{path}")).as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(field),
        value => parent.insert(field.to_owned(), value),
    };
    spec
}

fn refused() -> Vec<(Value, &'static str)> {
    let queue = "/messageQueueConfig";
    vec![
        (json!({}), "spec.sourcePod: Required value"),
        (with("/sourcePod", Value::Null), "spec.sourcePod: Required value"),
        (with("/sourcePod", json!("")), "spec.sourcePod in body should be at least 1 chars long"),
        (with("/sourcePod", json!(7)), "spec.sourcePod in body must be of type string"),
        (with("/containerName", json!("")), "spec.containerName in body should be at least 1 chars long"),
        (with("/targetNode", json!("")), "spec.targetNode in body should be at least 1 chars long"),
        (with("/migrationStrategy", json!("Teleport")), r#"supported values: "ShadowPod", "Sequential""#),
        (with("/placement", json!("Nail")), r#"supported values: "Free", "Pin""#),
        (with("/transferMode", json!("direct")), r#"supported values: "Registry", "Direct", "SharedVolume""#),
        (with("/transferMode", json!("Registry")), "checkpointImageRepository is required with transferMode Registry"),
        (with("/transferMode", Value::Null), "checkpointImageRepository is required with transferMode Registry"),
        (with("/checkpointImageRepository", json!("")), "spec.checkpointImageRepository in body should be at least 1 chars long"),
        (with("/identitySwapMode", json!("Swap")), r#"supported values: "None", "Cutoff", "ExchangeFence""#),
        (with("/replayMode", json!("Drop")), r#"supported values: "Cutoff""#),
        (with("/replayCutoffSeconds", json!(-1)), "should be greater than or equal to 0"),
        (with("/restoreDriver", json!("Magic")), r#"supported values: "Auto", "Runtime", "Image""#),
        (with("/checkpointDriver", json!("Magic")), r#"supported values: "Auto", "Kubelet", "Runtime""#),
        (with("/preDump", json!({ "enabled": "yes" })), "spec.preDump.enabled in body must be of type boolean"),
        (with("/preDump", json!({ "maxRounds": 0 })), "should be greater than or equal to 1"),
        (with("/preDump", json!({ "intervalSeconds": 3601 })), "should be less than or equal to 3600"),
        (with("/handover", json!({ "mode": "Jump" })), r#"supported values: "Auto", "Chase", "Hold""#),
        (with("/handover", json!({ "deadlineSeconds": 0 })), "should be greater than or equal to 1"),
        (with("/timeouts", json!({ "replayingSeconds": 0 })), "should be greater than or equal to 1"),
        (with("/timeouts", json!({ "pendingSeconds": 90000 })), "should be less than or equal to 86400"),
        (with("/bytesPerSecondMax", json!(0)), "should be greater than or equal to 1"),
        (with("/ttlSecondsAfterFinished", json!(-1)), "should be greater than or equal to 0"),
        (with(queue, Value::Null), "spec.messageQueueConfig: Required value"),
        (with(&format!("{queue}/queueName"), Value::Null), "spec.messageQueueConfig.queueName: Required value"),
        (with(&format!("{queue}/queueName"), json!("")), "should be at least 1 chars long"),
        (with(&format!("{queue}/brokerUrl"), json!("amqp://broker")), "give exactly one of brokerUrl and brokerSecretRef"),
        (with(&format!("{queue}/brokerSecretRef"), Value::Null), "give exactly one of brokerUrl and brokerSecretRef"),
        (with(queue, json!({ "queueName": "orders", "brokerUrl": "http://broker" })), "should match '^amqps?://'"),
        (with(queue, json!({ "queueName": "orders", "brokerSecretRef": {} })), "brokerSecretRef.name: Required value"),
        (with(&format!("{queue}/protocol"), json!("Mirror")), r#"supported values: "Auto", "Journal", "Offset", "Relay""#),
        (with("/sourcePot", json!("orders-0")), r#"unknown field "spec.sourcePot""#),
    ]
}

#[test]
fn good_migrations_are_taken_with_their_defaults_and_each_bad_one_is_refused_with_a_reason() {
    let cluster = Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    cluster.apply(DEFINITION).unwrap();
    cluster.kubectl(&["wait", "--timeout=30s", "--for=condition=Established", "crd/statefulmigrations.migration.ms2m.io"]).unwrap();
    for (number, (spec, said)) in refused().into_iter().enumerate() {
        let name = format!("bad-{number}");
        let error = cluster.apply(&migration(&name, &spec)).expect_err(&format!("{spec} was taken")).to_string();
        println!("{spec}\n  {}", error.lines().find(|line| line.contains(said)).unwrap_or_default());
        assert!(error.contains(said), "{spec}\n  wanted: {said}\n  got: {error}");
    }

    cluster.apply(&migration("minimal", &minimal())).unwrap();
    let get = |path: &str| cluster.kubectl(&["get", "sm", "minimal", "--output", &format!("jsonpath={{{path}}}")]).unwrap();
    for (path, value) in [
        (".spec.identitySwapMode", "None"),
        (".spec.placement", "Free"),
        (".spec.replayMode", "Cutoff"),
        (".spec.replayCutoffSeconds", "0"),
        (".spec.preDump", r#"{"dirtyPagesThreshold":1024,"enabled":false,"intervalSeconds":30,"maxRounds":5}"#),
        (".spec.handover", r#"{"deadlineSeconds":10,"mode":"Auto"}"#),
        (".spec.timeouts.replayingSeconds", "300"),
        (".spec.messageQueueConfig.protocol", "Auto"),
        (".spec.messageQueueConfig.brokerSecretRef.key", "url"),
        (".spec.restoreDriver", "Auto"),
        (".spec.migrationStrategy", ""),
    ] {
        assert_eq!(get(path), value, "{path}");
    }
    // As the seed's and the Go version's manifests have it.
    let older = json!({
        "sourcePod": "consumer-0", "checkpointImageRepository": "registry.example/checkpoints", "targetNode": "n2",
        "migrationStrategy": "Sequential", "replayCutoffSeconds": 120, "identitySwapMode": "ExchangeFence",
        "messageQueueConfig": {
            "queueName": "orders", "brokerUrl": "amqp://guest:guest@broker:5672", "exchangeName": "orders.fanout", "routingKey": "",
        },
    });
    cluster.apply(&migration("older", &older)).unwrap();

    cluster.apply(&migration("minimal", &minimal())).unwrap();
    let error = cluster.apply(&migration("minimal", &with("/targetNode", json!("n2")))).unwrap_err().to_string();
    assert!(error.contains("spec cannot be changed: delete this migration"), "{error}");
    let status = r#"{"status": {"phase": "Dancing"}}"#;
    let patch = ["patch", "sm", "minimal", "--subresource=status", "--type=merge", "--patch"];
    let error = cluster.kubectl(&[&patch[..], &[status]].concat()).unwrap_err().to_string();
    assert!(error.contains("Unsupported value: \"Dancing\""), "{error}");
    let status = r#"{"status": {"phase": "Replaying", "targetNode": "n2", "progress": {"summary": "lag 3"}, "engine": "{}",
        "report": {"durations_ms": {"cutover_gap": 3.5}}}}"#;
    cluster.kubectl(&[&patch[..], &[status]].concat()).unwrap();
    let row = cluster.kubectl(&["get", "sm", "minimal"]).unwrap();
    println!("{row}");
    for word in ["PHASE", "GAP MS", "Replaying", "orders-0", "n2", "lag 3", "3.5"] {
        assert!(row.contains(word), "{row}");
    }
    assert_eq!(get(".status.engine"), "{}");
}
