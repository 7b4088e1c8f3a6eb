//! The copy is the source, with few changes; and what cannot follow is told.

use std::collections::BTreeMap;

use ms2m_core::MigrationId;
use ms2m_k8s::api::{MIGRATION_LABEL, PLACED_ON, RESTORE_CONTAINER, RESTORE_FROM};
use ms2m_k8s::pod::{Claims, Copy, SourcePod, copy_name, obstacles};
use proptest::prelude::*;
use serde_json::{Value, json};

fn running(spec: &Value) -> Value {
    let digest = format!("sha256:{}", "7".repeat(64));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "orders-5d-x2x4k", "generateName": "orders-5d-", "namespace": "shop", "uid": "u-1", "resourceVersion": "77",
            "labels": { "app": "orders", "tier": "backend", "pod-template-hash": "5d" },
            "annotations": {
                "prometheus.io/scrape": "true", "cni.projectcalico.org/podIP": "10.0.0.1", "migration.ms2m.io/predump-enabled": "true",
                "migration.ms2m.io/queue": "orders", "migration.ms2m.io/moved-by": "m-0",
                "controller.kubernetes.io/pod-deletion-cost": "7", "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-5d", "uid": "r-1", "controller": true }],
        },
        "spec": spec,
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "main", "image": "registry.example/orders:1", "imageID": format!("registry.example/orders@{digest}"), "ready": true,
              "restartCount": 0, "state": { "running": {} } },
            { "name": "logs", "image": "localhost/logs:1", "imageID": digest, "ready": true, "restartCount": 0, "state": { "running": {} } },
        ] },
    })
}

fn spec() -> Value {
    json!({
        "nodeName": "n1", "hostname": "orders", "subdomain": "shop", "serviceAccountName": "orders", "serviceAccount": "orders",
        "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "enableServiceLinks": true, "aFieldOfTheFuture": { "kept": 1 },
        "tolerations": [{ "key": "spot", "operator": "Exists" }],
        "initContainers": [{ "name": "init", "image": "init" }],
        "ephemeralContainers": [{ "name": "debug", "image": "debug" }],
        "containers": [
            { "name": "main", "image": "registry.example/orders:1", "imagePullPolicy": "Always", "env": [{ "name": "A", "value": "1" }],
              "volumeMounts": [{ "name": "kube-api-access-x1", "mountPath": "/var/run/secrets" }, { "name": "config", "mountPath": "/etc/orders" }] },
            { "name": "logs", "image": "localhost/logs:1", "imagePullPolicy": "Never" },
        ],
        "volumes": [{ "name": "config", "configMap": { "name": "orders" } }, { "name": "kube-api-access-x1", "projected": { "sources": [] } }],
    })
}

fn main() -> [String; 1] {
    ["main".to_owned()]
}

fn source(spec: &Value) -> SourcePod {
    SourcePod::of(running(spec)).unwrap()
}

fn copy_of(source: &SourcePod, target_node: Option<&str>, runtime_class_name: Option<&str>) -> Value {
    let migration = MigrationId::new("m-1").unwrap();
    Copy { migration: &migration, name: &copy_name(source, &migration), target_node, runtime_class_name, waits: &["main".to_owned()] }
        .of(source)
        .unwrap()
}

#[test]
fn the_copy_is_the_source_with_few_changes() {
    let copy = copy_of(&source(&spec()), Some("n2"), Some("ms2m"));
    assert_eq!(copy["metadata"]["labels"], json!({ MIGRATION_LABEL: "m-1" }), "nothing that a selector could match");
    assert_eq!(copy["metadata"].get("ownerReferences"), None);
    assert_eq!(
        copy["metadata"]["annotations"],
        json!({
            "prometheus.io/scrape": "true", "migration.ms2m.io/predump-enabled": "true", "migration.ms2m.io/queue": "orders",
            RESTORE_FROM: "m-1", RESTORE_CONTAINER: "main",
        })
    );
    let place = json!({ "key": "metadata.name", "operator": "In", "values": ["n2"] });
    let terms = json!({ "nodeSelectorTerms": [{ "matchFields": [place] }] });
    let digest = format!("registry.example/orders@sha256:{}", "7".repeat(64));
    assert_eq!(
        copy["spec"],
        json!({
            "subdomain": "shop", "serviceAccountName": "orders", "enableServiceLinks": true, "aFieldOfTheFuture": { "kept": 1 },
            "tolerations": [{ "key": "spot", "operator": "Exists" }], "runtimeClassName": "ms2m",
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } },
            "containers": [
                { "name": "main", "image": digest, "imagePullPolicy": "IfNotPresent", "env": [{ "name": "A", "value": "1" }],
                  "volumeMounts": [{ "name": "config", "mountPath": "/etc/orders" }] },
                { "name": "logs", "image": "localhost/logs:1", "imagePullPolicy": "Never" },
            ],
            "volumes": [{ "name": "config", "configMap": { "name": "orders" } }],
        })
    );
}

#[test]
fn without_a_target_it_goes_anywhere_else_and_the_sources_own_wishes_stay() {
    let mut spec = spec();
    let zone = json!({ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] });
    let moved_before = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n1"] }] });
    let elsewhere = json!([{ "key": "metadata.name", "operator": "NotIn", "values": ["n1"] }]);
    let mut copy_with = |terms: Value| {
        spec["affinity"] = json!({
            "podAntiAffinity": { "kept": true },
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } },
        });
        let copy = copy_of(&source(&spec), None, None);
        assert_eq!(copy["spec"]["affinity"]["podAntiAffinity"], json!({ "kept": true }));
        assert_eq!(copy["spec"].get("runtimeClassName"), None);
        copy["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
    };
    let in_zone = json!([{ "matchExpressions": zone["matchExpressions"], "matchFields": elsewhere }]);
    assert_eq!(copy_with(json!([zone])), in_zone);
    // One of its terms is enough for a node. One that only says where it is now must not become "anywhere else", which is out of the zone too.
    assert_eq!(copy_with(json!([zone, moved_before])), in_zone);
    assert_eq!(copy_with(json!([moved_before])), json!([{ "matchFields": elsewhere }]), "an earlier move is over");
}

#[test]
fn where_an_earlier_migration_has_put_it_holds_nobody() {
    let mut placed = running(&spec());
    placed["metadata"]["annotations"][PLACED_ON] = "n1".into();
    let copy_with = |selector: Value| {
        let mut placed = placed.clone();
        placed["spec"]["nodeSelector"] = selector;
        copy_of(&SourcePod::of(placed).unwrap(), Some("n2"), None)
    };
    let copy = copy_with(json!({ "kubernetes.io/hostname": "n1", "disk": "ssd" }));
    assert_eq!(copy["spec"]["nodeSelector"], json!({ "disk": "ssd" }));
    assert_eq!(copy["metadata"]["annotations"].get(PLACED_ON), None);
    let own = json!({ "kubernetes.io/hostname": "n3" });
    assert_eq!(copy_with(own.clone())["spec"]["nodeSelector"], own, "the workload's own word");
}

#[test]
fn names_stay_short_and_do_not_grow_with_each_move() {
    let name_of = |name: &str, generate_name: Option<&str>, migration: &str| {
        let mut raw = running(&spec());
        raw["metadata"]["name"] = name.into();
        raw["metadata"]["generateName"] = generate_name.into();
        copy_name(&SourcePod::of(raw).unwrap(), &MigrationId::new(migration).unwrap())
    };
    let first = name_of("orders-5d-x2x4k", Some("orders-5d-"), "m-1");
    assert!(first.starts_with("orders-5d-m") && first.len() == "orders-5d-m".len() + 8, "{first}");
    assert_eq!(first, name_of("orders-5d-x2x4k", Some("orders-5d-"), "m-1"));
    assert_ne!(first, name_of("orders-5d-x2x4k", Some("orders-5d-"), "m-2"));
    assert!(name_of(&first, None, "m-2").starts_with("orders-5d-m") && name_of(&first, None, "m-2").len() == first.len());
    let long = name_of(&format!("a.{}", "b".repeat(200)), None, "m-1");
    assert!(long.len() == 63 && long.starts_with("a-bbb"), "{long}");
}

#[test]
fn the_consumer_is_known_by_its_host_name() {
    assert_eq!(source(&spec()).instance().unwrap().as_str(), "orders");
    let mut plain = spec();
    plain.as_object_mut().unwrap().remove("hostname");
    assert_eq!(source(&plain).instance().unwrap().as_str(), "orders-5d-x2x4k");
    let mut raw = running(&plain);
    raw["metadata"]["name"] = format!("{}-{}", "a".repeat(62), "b".repeat(9)).into();
    assert_eq!(SourcePod::of(raw).unwrap().instance().unwrap().as_str(), "a".repeat(62), "as the kubelet shortens it");
}

#[test]
fn a_container_is_found_by_name_or_is_the_first() {
    let source = source(&spec());
    assert_eq!(source.container(None).unwrap(), "main");
    assert_eq!(source.container(Some("logs")).unwrap(), "logs");
    let error = source.container(Some("nonesuch")).unwrap_err().to_string();
    assert!(error.contains("it has main, logs"), "{error}");
}

#[test]
fn what_cannot_follow_is_told() {
    assert_eq!(obstacles(&source(&spec()), &main(), Some("n2"), &Claims::new()), [""; 0]);
    let volume = |volume: Value| json!({ "volumes": [volume] });
    let claim = || volume(json!({ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }));
    let container = |field: &str, value: Value| json!({ "containers": [{ "name": "main", field: value }] });
    let cases: Vec<(Value, &str)> = vec![
        (json!({ "nodeName": "n2" }), "it runs on the target node already"),
        (json!({ "hostNetwork": true }), "hostNetwork"),
        (json!({ "hostPID": true }), "hostPID"),
        (json!({ "hostIPC": true }), "hostIPC"),
        (json!({ "shareProcessNamespace": true }), "shareProcessNamespace"),
        (json!({ "resourceClaims": [{ "name": "gpu" }] }), "resourceClaims"),
        (json!({ "initContainers": [{ "name": "proxy", "restartPolicy": "Always" }] }), "init container proxy has restartPolicy Always"),
        (container("tty", json!(true)), "terminal"),
        (container("stdin", json!(true)), "standard input"),
        (container("resources", json!({ "limits": { "nvidia.com/gpu": "1" } })), "uses nvidia.com/gpu"),
        (container("volumeDevices", json!([{ "name": "disk", "devicePath": "/dev/x" }])), "block device disk"),
        (
            json!({
                "containers": [{ "name": "main", "volumeMounts": [{ "name": "data", "mountPath": "/d", "subPath": "d" }] }],
                "volumes": [{ "name": "data", "emptyDir": {} }],
            }),
            "a part of emptyDir data",
        ),
        (volume(json!({ "name": "data", "hostPath": { "path": "/data" } })), "volume data is of kind hostPath"),
        (volume(json!({ "name": "data", "ephemeral": {} })), "the copy would get an empty one"),
        (volume(json!({ "name": "data", "iscsi": { "iqn": "i", "lun": 0, "targetPortal": "t" } })), "one node at a time"),
        (volume(json!({ "name": "data", "aVolumeOfTheFuture": {} })), "kind aVolumeOfTheFuture"),
        (claim(), "the access mode of claim data is ReadWriteOnce"),
    ];
    let claims: Claims = BTreeMap::from([("data".to_owned(), vec!["ReadWriteOnce".to_owned()])]);
    for (change, said) in cases {
        let mut spec = spec();
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let found = obstacles(&source(&spec), &main(), Some("n2"), &claims);
        assert!(matches!(&found[..], [only] if only.contains(said)), "{change}: {found:?}");
    }
    let mut shared = spec();
    shared.as_object_mut().unwrap().extend(claim().as_object().unwrap().clone());
    let claims = BTreeMap::from([("data".to_owned(), vec!["ReadWriteMany".to_owned()])]);
    assert_eq!(obstacles(&source(&shared), &main(), None, &claims), [""; 0]);
    assert!(obstacles(&source(&shared), &main(), None, &Claims::new())[0].contains("is unknown"));
}

#[test]
fn a_pod_that_does_not_run_has_nothing_to_move() {
    let cases: [(&str, Value, &str); 4] = [
        ("/status/phase", json!("Pending"), "the pod is Pending"),
        ("/status/containerStatuses/0/state", json!({ "waiting": { "reason": "CrashLoopBackOff" } }), "container main does not run"),
        ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), "being deleted"),
        ("/metadata/annotations/kubernetes.io~1config.mirror", json!("x"), "static pod"),
    ];
    for (path, value, said) in cases {
        let mut raw = running(&spec());
        let (parent, field) = path.rsplit_once('/').unwrap();
        raw.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.replace("~1", "/"), value);
        let found = obstacles(&SourcePod::of(raw).unwrap(), &main(), None, &Claims::new());
        assert!(matches!(&found[..], [only] if only.contains(said)), "{path}: {found:?}");
    }
}

fn names() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}"
}

prop_compose! {
    fn any_source()(
        labels in prop::collection::btree_map(names(), names(), 0..6),
        own in prop::collection::vec(names(), 1..4),
        mounts in prop::collection::vec(prop_oneof![names(), names().prop_map(|name| format!("kube-api-access-{name}"))], 0..4),
        node in prop::option::of(names()),
        extra in prop::collection::btree_map("x-[a-z]{3}", any::<bool>(), 0..4),
        digest in prop::option::of("[0-9a-f]{64}"),
    ) -> SourcePod {
        let volumes: Vec<Value> = mounts.iter().map(|name| json!({ "name": name, "emptyDir": {} })).collect();
        let mounts: Vec<Value> = mounts.iter().map(|name| json!({ "name": name, "mountPath": format!("/{name}") })).collect();
        let containers: Vec<Value> =
            own.iter().enumerate().map(|(at, name)| json!({ "name": format!("{name}{at}"), "image": name, "volumeMounts": mounts })).collect();
        let image_id = digest.map_or_else(String::new, |digest| format!("docker-pullable://r/i@sha256:{digest}"));
        let statuses: Vec<Value> = containers.iter().map(|container| json!({
            "name": container["name"], "image": "i", "imageID": image_id, "ready": true, "restartCount": 0,
        })).collect();
        let mut spec = json!({ "containers": containers, "volumes": volumes, "initContainers": [{ "name": "init" }] });
        spec["nodeName"] = node.into();
        spec.as_object_mut().unwrap().extend(extra.into_iter().map(|(field, value)| (field, value.into())));
        let mut raw = running(&spec);
        raw["metadata"]["labels"] = json!(labels);
        raw["status"]["containerStatuses"] = json!(statuses);
        SourcePod::of(raw).unwrap()
    }
}

proptest! {
    #[test]
    fn nothing_selects_a_copy_and_nothing_of_its_work_is_lost(source in any_source(), target in prop::option::of(names())) {
        let copy = copy_of(&source, target.as_deref(), None);
        let of = source.raw();
        prop_assert_eq!(copy["metadata"]["labels"].as_object().unwrap().len(), 1);
        prop_assert!(copy["spec"].get("initContainers").is_none() && copy["spec"].get("nodeName").is_none());
        prop_assert!(!copy.to_string().contains("kube-api-access-"));
        let containers = |pod: &Value| pod["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect::<Vec<_>>();
        prop_assert_eq!(containers(&copy), containers(of));
        for container in copy["spec"]["containers"].as_array().unwrap() {
            let image = container["image"].as_str().unwrap();
            prop_assert!(!image.contains("://"), "{}", image);
        }
        for (field, value) in of["spec"].as_object().unwrap().iter().filter(|(field, _)| field.starts_with("x-")) {
            prop_assert_eq!(copy["spec"].get(field), Some(value));
        }
        // Moved again, it is the same but for its place.
        let mut again = copy.clone();
        again["status"] = of["status"].clone();
        let again = copy_of(&SourcePod::of(again).unwrap(), target.as_deref(), None);
        if target.is_some() {
            prop_assert_eq!(&again["spec"], &copy["spec"]);
        }
    }
}
