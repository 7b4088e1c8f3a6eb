//! ms2m comes into a cluster as a newcomer installs it, moves a consumer, and goes again.

#[path = "../criu_migrate/audit.rs"]
mod audit;
#[path = "../criu_migrate/figures.rs"]
#[allow(dead_code, reason = "two moves need no summary")]
mod figures;
mod names;
#[path = "../criu_migrate/publish.rs"]
#[allow(dead_code, reason = "the rate is another one here")]
mod publish;
mod readme;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ms2m_broker::link::{Broker as _, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_cluster::{Image, Node};
use ms2m_testkit_machine::workspace_program;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::publish::{PUBLISHERS, publish};
use crate::stage::{NAMESPACE, RUNTIME, Stage, put};

/// Messages a second.
const RATE: u32 = 20;
/// A request of somebody who calls himself `other`, as `openssl req` makes it.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlITE1ISUNBUUF3RURFT01Bd0dBMVVFQXd3RmIzUm9aWEl3V1RBVEJnY3Foa2pPUFFJQkJn\
    Z3Foa2pPUFFNQgpCd05DQUFTMldGUHh0N0FsSVhaNUJKd0xHZ1FKNWlnK1JJTVIxb1FSbjdueTN6TU1mUHFuTDFKQ1pQTlltTEU4CmV3NjlXT1doM081M2F4\
    dlllS1BITmgvQjdxWkpvQUF3Q2dZSUtvWkl6ajBFQXdJRFNRQXdSZ0loQVAxQWl2MUMKR2oweEhydGIvQTU4SWhkVGhZdU14RVpuVFppdEkrZWtLNE1GQWlF\
    QW8vWCs5dzBVU2ZLUHFQMVpqOTZhUkJNbApmbVNmLzdUT1JSaTYxT0lJU3lvPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
/// Of certificates: many are renewed while the test runs.
const LIFETIME: Duration = Duration::from_secs(30);

fn in_the_cluster(stage: &Stage, test: impl AsyncFnOnce(&Stage) + Send) {
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(test(stage));
    };
    stage.cluster.within(work).unwrap();
}

#[test]
fn a_newcomer_installs_ms2m_moves_a_consumer_and_removes_ms2m() {
    in_the_cluster(&Stage::start(RUNTIME), async |stage| {
        let server = stage.cluster.rabbitmq().unwrap();
        let (url, management) = (server.amqp_url(), server.management_url());
        let broker = Arc::new(RabbitMq::new(RabbitMqConfig::new(&url).unwrap().with_management(&management).unwrap()).unwrap());
        let admin = broker.connect("test-admin").await.unwrap();
        for (name, kind) in [("orders", QueueKind::Quorum), ("orders.out", QueueKind::Classic)] {
            admin.declare(name, &QueueOptions { kind, single_active_consumer: false, bytes_max: None }).await.unwrap();
        }
        // Everybody in the cluster knows the broker by its name.
        let named = |url: &str| url.replace("10.77.0.1", names::BROKER);
        let counter = stage.cluster.push("counter", &Image::of(workspace_program("counter", "counter").unwrap())).unwrap();
        let replaced = [
            ("registry.example/counter:0.1.0", counter),
            ("amqp://guest:guest@rabbitmq.brokers.svc:5672", named(&url)),
            ("http://rabbitmq.brokers.svc:15672", named(&management)),
        ];
        stage.applies("orders.yaml", &replaced);
        stage.consumer().await;
        let stop = Arc::new(AtomicBool::new(false));
        let publisher = |number| tokio::spawn(publish(Arc::clone(&broker), "orders".to_owned(), number, RATE, Arc::clone(&stop)));
        let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();

        let commands = readme::commands();
        assert_eq!(commands.len(), 5, "{commands:?}");
        let image = [("registry.example/ms2m:0.1.0", stage.image.clone())];
        let install = format!("{} --set certificates.lifetimeSeconds={}", put(&commands[0], &image), LIFETIME.as_secs());
        stage.types(&install).await.unwrap();
        stage.types(&commands[1]).await.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
        let told = stage.types("ms2m doctor --node n1").await.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
        println!("{told}");
        for name in ["node", "schedulable", "runtime", "certificate", "agent", "release"] {
            let well = |line: &str| line.split_whitespace().take(2).eq(["ok", name]);
            assert!(told.lines().any(well), "{name}: {told}");
        }
        stage.types(&commands[2]).await.unwrap();
        let begun = Instant::now();
        let moves = async |how: &str| {
            let (pod, to) = stage.consumer().await;
            let line = put(&commands[3], &[("orders-845c56cdcb-spkbf", pod), ("node-2", to.to_owned())]);
            let line = format!("{line} {how}");
            stage.types(&line).await.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()))
        };
        let told = moves("").await;
        println!("{told}");
        assert!(stage.types(&commands[4]).await.unwrap().contains("Completed"));

        // All certificates that there were have ended since.
        sleep((LIFETIME * 2).saturating_sub(begun.elapsed())).await;
        let report: Value = serde_json::from_str(&moves("--output json").await).unwrap();
        println!("{}", figures::line(&report));
        assert_eq!(report["outcome"], "completed", "{report:#}");
        let requests = stage.items(&["csr"]);
        let signed = requests.iter().filter(|request| request["status"]["certificate"].is_string()).count();
        println!("{signed} certificates in {:?}", begun.elapsed());
        assert!(signed == requests.len() && signed >= 4, "{requests:#?}");
        an_agents_account_asks_no_other_signer(stage).await;
        stage.consumer().await;

        // It goes, and what it has moved stays.
        let before = stage.items(&["pods"])[0]["metadata"]["uid"].clone();
        stage.types(&format!("helm uninstall ms2m --namespace {NAMESPACE} --wait")).await.unwrap();
        stage.types(&format!("kubectl delete namespace {NAMESPACE} --timeout=2m")).await.unwrap();
        stage.types("kubectl delete rolebinding ms2m-broker-secrets").await.unwrap();
        nothing_is_left(stage);
        sleep(Duration::from_secs(2)).await;
        stage.consumer().await;
        assert_eq!(stage.items(&["pods"])[0]["metadata"]["uid"], before);

        stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for publisher in publishers {
            sent.push(publisher.await.unwrap());
        }
        let audit = audit::audit(&broker, "orders.out", &sent).await;
        println!("{audit:?}");
        assert!(audit.exact, "{audit:?}");
        admin.close().await;
    });
}

async fn an_agents_account_asks_no_other_signer(stage: &Stage) {
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": { "name": "other" },
        "spec": { "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "request": REQUEST },
    });
    let request = format!("echo '{request}'");
    let who = format!("--as=system:serviceaccount:{NAMESPACE}:ms2m-agent");
    let refused = stage.types(&format!("{request} | kubectl create {who} -f -")).await.unwrap_err();
    assert!(refused.contains("may ask the signer migration.ms2m.io/agent only"), "{refused}");
}

/// The resource's definition is Helm's to keep, the RuntimeClass ours: pods that have moved bear its name.
fn nothing_is_left(stage: &Stage) {
    let kinds = "clusterroles,clusterrolebindings,crd,runtimeclasses,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 mutatingadmissionpolicies,mutatingadmissionpolicybindings,namespaces";
    let left = stage.cluster.kubectl(&["get", kinds, "--output", "name"]).unwrap();
    let left: Vec<_> = left.lines().filter(|name| name.contains("ms2m")).collect();
    let crd = "customresourcedefinition.apiextensions.k8s.io/statefulmigrations.migration.ms2m.io";
    assert_eq!(left, [crd, "runtimeclass.node.k8s.io/ms2m"]);
}

#[test]
fn the_installation_says_what_a_node_lacks_and_goes_on_when_it_is_there() {
    in_the_cluster(&Stage::start(""), async |stage| {
        let install = put(&readme::commands()[0], &[("registry.example/ms2m:0.1.0", stage.image.clone())]);
        stage.types(&install).await.unwrap();
        let said = stage
            .until("the installer says what is missing", || {
                let pods = stage.items(&["pods", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/component=agent"]);
                let statuses = pods.iter().flat_map(|pod| pod["status"]["initContainerStatuses"].as_array().into_iter().flatten());
                let ended =
                    statuses.flat_map(|status| [&status["state"]["terminated"]["message"], &status["lastState"]["terminated"]["message"]]);
                ended.filter_map(Value::as_str).find(|message| message.contains("lacks")).map(str::to_owned)
            })
            .await;
        println!("{said}");
        for wanted in ["the runtime \"ms2m\"", "BinaryName = '/opt/ms2m/bin/ms2m-runtime'", "pod_annotations", "restart containerd"] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        // As an administrator does it.
        let restart =
            "pkill -x containerd; while pgrep -x containerd >/dev/null; do sleep 0.1; done; setsid containerd >/dev/null 2>&1 </dev/null &";
        for node in [Node::N1, Node::N2] {
            let done = stage.cluster.node(node, "sh").args(["-ec", &format!("{RUNTIME}{restart}")]).status().unwrap();
            assert!(done.success(), "{node}");
        }
        stage.types(&readme::commands()[1]).await.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    });
}

/// Whoever installs without Helm gets the same.
#[test]
fn the_plain_manifests_are_what_the_chart_makes_and_the_api_server_takes_them() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let made = std::process::Command::new(format!("{root}/testbed/helm")).arg("template").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let kept = std::fs::read_to_string(format!("{root}/deploy/programs/programs.yaml")).unwrap();
    assert!(String::from_utf8_lossy(&made.stdout) == kept, "deploy/programs/programs.yaml: `testbed/helm template` makes another one");
    in_the_cluster(&Stage::start(RUNTIME), async |stage| {
        let image = format!(
            "cd deploy && cp -rL . /tmp/deploy && sed -i 's#newName: ms2m#newName: {}#; s#newTag: .*#digest: {}#' /tmp/deploy/kustomization.yaml",
            stage.image.split_once('@').unwrap().0,
            stage.image.split_once('@').unwrap().1
        );
        stage.types(&image).await.unwrap();
        stage.types("kubectl apply -k /tmp/deploy").await.unwrap();
        let rollout = "kubectl rollout status --namespace ms2m-system --timeout=4m";
        stage
            .types(&format!("{rollout} daemonset/ms2m-agent && {rollout} deployment/ms2m-controller"))
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    });
}
