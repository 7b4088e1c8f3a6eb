//! A cluster with ms2m in it, several consumers on its first node, their publishers, and their judge.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ms2m_broker::link::{Broker as _, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_cluster::{Cluster, Image};
use ms2m_testkit_machine::workspace_program;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::audit;
use crate::operator::{Operator, account, cluster};
use crate::publish::{PUBLISHERS, publish};

/// Generous: a loaded machine is no error.
const WITHIN: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);
/// Messages a second for each consumer.
const RATE: u32 = crate::publish::RATE / 12;
const DRAINER: &str = "drainer";
/// As the machine sees it.
const ADMIN: &str = "/var/tmp/cluster/pki/admin.kubeconfig";

/// One that is opted in, with a queue of its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consumer {
    pub(crate) name: &'static str,
    /// Where it says the broker is.
    pub(crate) secret: &'static str,
}

impl Consumer {
    fn effects(self) -> String {
        format!("{}.out", self.name)
    }
}

pub(crate) struct Stage {
    cluster: Cluster,
}

/// What goes on while the publishers publish.
pub(crate) struct Act<'a> {
    cluster: &'a Cluster,
    kubeconfig: PathBuf,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let cluster = cluster();
        // Who drains, with the rights of its role alone.
        cluster.kubectl(&["create", "serviceaccount", DRAINER, "--namespace", "ms2m-system"]).unwrap();
        let whom = format!("--serviceaccount=ms2m-system:{DRAINER}");
        cluster.kubectl(&["create", "clusterrolebinding", DRAINER, "--clusterrole=ms2m-drainer", &whom]).unwrap();
        Self { cluster }
    }

    /// Everything from the first message to the audits, in the cluster's network.
    pub(crate) fn play(&self, consumers: &[Consumer], act: impl AsyncFnOnce(&Act<'_>) + Send) {
        let work = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(self.perform(consumers, act));
        };
        self.cluster.within(work).unwrap();
    }

    async fn perform(&self, consumers: &[Consumer], act: impl AsyncFnOnce(&Act<'_>)) {
        let mut operator = Operator::start(&self.cluster);
        let server = self.cluster.rabbitmq().unwrap();
        let (url, management) = (server.amqp_url(), server.management_url());
        let broker = Arc::new(RabbitMq::new(RabbitMqConfig::new(&url).unwrap().with_management(&management).unwrap()).unwrap());
        let admin = broker.connect("test-admin").await.unwrap();
        for consumer in consumers {
            for (name, kind) in [(consumer.name.to_owned(), QueueKind::Quorum), (consumer.effects(), QueueKind::Classic)] {
                admin.declare(&name, &QueueOptions { kind, single_active_consumer: false, bytes_max: None }).await.unwrap();
            }
        }
        let account_of_controller = "--serviceaccount=ms2m-system:ms2m-controller";
        self.cluster.kubectl(&["create", "secret", "generic", "broker", &format!("--from-literal=url={url}")]).unwrap();
        let role = "--clusterrole=ms2m-broker-secrets";
        self.cluster.kubectl(&["create", "rolebinding", "ms2m-broker-secrets", role, account_of_controller]).unwrap();
        self.deploy(consumers, &url, &management);
        for consumer in consumers {
            let begun = Instant::now();
            while admin.queue_status(consumer.name).await.unwrap().is_none_or(|status| status.consumers == 0) {
                assert!(begun.elapsed() < WITHIN, "{} does not consume", consumer.name);
                sleep(LOOK).await;
            }
        }

        let stop = Arc::new(AtomicBool::new(false));
        let start = |consumer: &Consumer| {
            let publisher = |number| tokio::spawn(publish(Arc::clone(&broker), consumer.name.to_owned(), number, RATE, Arc::clone(&stop)));
            (0..PUBLISHERS).map(publisher).collect::<Vec<_>>()
        };
        let publishers: Vec<_> = consumers.iter().map(start).collect();
        act(&Act { cluster: &self.cluster, kubeconfig: account(&self.cluster, DRAINER) }).await;
        assert!(operator.is_alive(), "one of ms2m's programs has ended");

        stop.store(true, Ordering::Relaxed);
        for (consumer, publishers) in consumers.iter().zip(publishers) {
            let mut sent = Vec::new();
            for publisher in publishers {
                sent.push(publisher.await.unwrap());
            }
            let audit = audit::audit(&broker, &consumer.effects(), &sent).await;
            println!("{}: {audit:?}", consumer.name);
            assert!(audit.exact, "{}: {audit:?}", consumer.name);
            let left = admin.queue_status(consumer.name).await.unwrap().unwrap().ready;
            assert_eq!(left, 0, "messages of {} that nobody has applied", consumer.name);
        }
        admin.close().await;
    }

    /// All of it comes to the first node, and nothing holds it there.
    fn deploy(&self, consumers: &[Consumer], url: &str, management: &str) {
        let counter = workspace_program("counter", "counter").unwrap();
        let image = self.cluster.push("counter", &Image::of(counter)).unwrap();
        self.cluster.kubectl(&["cordon", "n2"]).unwrap();
        for consumer in consumers {
            let effects = consumer.effects();
            let arguments = [
                ["--broker", url],
                ["--management", management],
                ["--queue", consumer.name],
                ["--queue-type", "quorum"],
                ["--effects-to", &effects],
                ["--ballast-mib", "8"],
            ];
            let annotations = json!({
                "migration.ms2m.io/queue": consumer.name,
                "migration.ms2m.io/broker-secret": consumer.secret,
                "migration.ms2m.io/management-url": management,
            });
            let manifest = deployment(consumer.name, &image, arguments.as_flattened(), &annotations);
            self.cluster.apply(&manifest.to_string()).unwrap();
        }
        // One that has no state worth moving.
        let web = workspace_program("ms2m-testkit-cluster", "ms2m-memory-counter").unwrap();
        let web = self.cluster.push("web", &Image::of(web)).unwrap();
        self.cluster.apply(&deployment("web", &web, &["1"], &json!({})).to_string()).unwrap();
        self.cluster.kubectl(&["wait", "deployment", "--all", "--for=condition=Available", "--timeout=90s"]).unwrap();
        self.cluster.kubectl(&["uncordon", "n2"]).unwrap();
    }
}

fn deployment(name: &str, image: &str, arguments: &[&str], annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{"name": "main", "image": image, "args": arguments, "resources": {"requests": {"cpu": "100m"}}}],
                },
            },
        },
    })
}

impl Act<'_> {
    /// What `ms2m drain` says as JSON; whether it has ended with this status.
    pub(crate) async fn drain(&self, words: &[&str], status: i32) -> Value {
        self.ms2m(&self.kubeconfig, &[&["drain"], words].concat(), status).await
    }

    /// The same of `ms2m doctor`, asked by somebody who may look at everything.
    pub(crate) async fn doctor(&self, of: [&str; 2], status: i32) -> Value {
        self.ms2m(Path::new(ADMIN), &[&["doctor"], &of[..]].concat(), status).await
    }

    async fn ms2m(&self, kubeconfig: &Path, words: &[&str], status: i32) -> Value {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_ms2m"));
        command.args(words).args(["--output", "json"]).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
        let output = timeout(WITHIN, Command::from(command).kill_on_drop(true).output()).await.expect("in time").unwrap();
        let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        println!("ms2m {}\n{complained}", words.join(" "));
        assert_eq!(output.status.code(), Some(status), "{words:?}: {complained} {said}");
        if said.is_empty() { Value::Null } else { serde_json::from_str(&said).unwrap() }
    }

    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        self.cluster.kubectl(words).unwrap()
    }

    fn get(&self, what: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get"], what, &["--output", "json"]].concat())).unwrap()
    }

    /// The pods on a node, by their names, in order.
    pub(crate) fn pods_on(&self, node: &str) -> Vec<String> {
        let pods = self.get(&["pods", "--field-selector", &format!("spec.nodeName={node}")]);
        let mut names: Vec<_> =
            pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn is_cordoned(&self, node: &str) -> bool {
        self.get(&["node", node])["spec"]["unschedulable"] == true
    }

    pub(crate) fn broker_url(&self) -> String {
        self.cluster.rabbitmq().unwrap().amqp_url()
    }

    /// Waits until there are so many pods, all Ready, each of a ReplicaSet.
    pub(crate) async fn are_all_ready(&self, number: usize) {
        let begun = Instant::now();
        loop {
            let pods = self.get(&["pods"]);
            let pods = pods["items"].as_array().unwrap();
            let well = |pod: &&Value| {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
                    && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            };
            if pods.len() == number && pods.iter().filter(well).count() == number {
                return;
            }
            assert!(begun.elapsed() < WITHIN, "{pods:#?}");
            sleep(LOOK).await;
        }
    }

    /// Waits until the API server counts by the budget.
    pub(crate) async fn budget_is_known(&self) {
        let begun = Instant::now();
        while self.get(&["poddisruptionbudget", "web"])["status"]["currentHealthy"] != 1 {
            assert!(begun.elapsed() < WITHIN, "nobody looks after the budget");
            sleep(LOOK).await;
        }
    }

    /// Whether who drains may do this.
    pub(crate) fn may_drainer(&self, what: &str) -> bool {
        let who = format!("--as=system:serviceaccount:ms2m-system:{DRAINER}");
        let words: Vec<_> = what.split(' ').collect();
        // It says no by its exit status.
        self.cluster.kubectl(&[&["auth", "can-i", &who], &words[..]].concat()).is_ok_and(|said| said.trim() == "yes")
    }
}
