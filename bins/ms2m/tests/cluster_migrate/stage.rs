//! A cluster with ms2m in it, a consumer, its publishers, and its judge.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ms2m_broker::link::{Broker as _, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_cluster::{Cluster, Image, Node, Options, REGISTRY};
use ms2m_testkit_machine::workspace_program;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::audit;
use crate::manifests::{
    LEDGER, TALLY, UID_FILE, deployment, deployment_of_several, deployment_with_more, deployment_with_probes, stateful_set,
};
use crate::operator::{Operator, cluster, cluster_of};
use crate::publish::{PUBLISHERS, publish};

/// As the machine sees it.
const KUBECONFIG: &str = "/var/tmp/cluster/pki/admin.kubeconfig";
pub(crate) const QUEUE: &str = "orders";
pub(crate) const EFFECTS: &str = "orders.out";
pub(crate) const SECRET: &str = "broker";
/// Generous: a loaded machine is no error.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// Between two moves, for the owner to apply some messages by itself, unless `MS2M_PAUSE_MS` says otherwise. In the first seconds of a pod its kubelet is busy with
/// it once a second, and begins to end it up to a second late: figures are of pods that have run for 4 s.
const PAUSE_MS: u32 = 500;

/// What an environment variable says.
pub(crate) fn number(variable: &str, unless_set: u32) -> u32 {
    std::env::var(variable).map_or(unless_set, |number| number.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {number}")))
}

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) ballast_mib: u32,
    /// Messages a second.
    pub(crate) rate: u32,
    /// As `ms2m migrate --mode` takes it.
    pub(crate) mode: &'static str,
    pub(crate) workload: Workload,
    /// As `ms2m migrate --transfer` takes it.
    pub(crate) transfer: &'static str,
    /// What else `ms2m migrate` is told: of drivers, or of the place of later pods.
    pub(crate) drivers: &'static [&'static str],
}

impl Setting {
    /// A Deployment's counter, moved from node to node.
    pub(crate) fn deployment(ballast_mib: u32, rate: u32, mode: &'static str) -> Self {
        Self { ballast_mib, rate, mode, workload: Workload::Deployment, transfer: "direct", drivers: &[] }
    }
}

/// Whose pod the consumer is, and how it moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    Deployment,
    /// One whose pods have other containers and a volume beside the consumer.
    DeploymentWithMore,
    /// One whose pods are probed as often as can be.
    DeploymentWithProbes,
    /// One of whose pods two containers move together, and one starts fresh.
    DeploymentOfSeveral,
    /// As `ms2m migrate --strategy` takes it.
    StatefulSet(&'static str),
}

impl Workload {
    fn owner(self) -> &'static str {
        match self {
            Self::Deployment | Self::DeploymentWithMore | Self::DeploymentWithProbes | Self::DeploymentOfSeveral => "ReplicaSet",
            Self::StatefulSet(_) => "StatefulSet",
        }
    }
}

pub(crate) struct Stage {
    cluster: Cluster,
    /// Starts ms2m in it.
    operator: fn(&Cluster) -> Operator,
}

/// What goes on while the publishers publish.
pub(crate) struct Act<'a> {
    stage: &'a Stage,
    setting: &'a Setting,
    url: String,
    management: String,
    operator: Mutex<Operator>,
    /// How long each `ms2m migrate` has taken: the resource is created, completed and seen in it.
    commands_ms: Mutex<Vec<u128>>,
}

impl Stage {
    pub(crate) fn start() -> Self {
        Self::start_with(Operator::start)
    }

    /// On nodes without ms2m-runtime.
    pub(crate) fn start_without_runtime() -> Self {
        Self { cluster: cluster_of(Options::default()), operator: Operator::start }
    }

    /// With ms2m started in another way.
    pub(crate) fn start_with(operator: fn(&Cluster) -> Operator) -> Self {
        Self { cluster: cluster(), operator }
    }

    /// Everything from the first message to the audit, in the cluster's network.
    pub(crate) fn play(&self, setting: &Setting, act: impl AsyncFnOnce(&Act<'_>) + Send) {
        self.play_on(setting, act, async |_| {});
    }

    /// The same, with something that happens after the audit.
    pub(crate) fn play_on(&self, setting: &Setting, act: impl AsyncFnOnce(&Act<'_>) + Send, after: impl AsyncFnOnce(&Act<'_>) + Send) {
        let work = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(self.perform(setting, act, after));
        };
        self.cluster.within(work).unwrap();
    }

    async fn perform(&self, setting: &Setting, act: impl AsyncFnOnce(&Act<'_>), after: impl AsyncFnOnce(&Act<'_>)) {
        let operator = (self.operator)(&self.cluster);
        let server = self.cluster.rabbitmq().unwrap();
        let (url, management) = (server.amqp_url(), server.management_url());
        let broker = Arc::new(RabbitMq::new(RabbitMqConfig::new(&url).unwrap().with_management(&management).unwrap()).unwrap());
        let admin = broker.connect("test-admin").await.unwrap();
        for (name, kind) in [(QUEUE, QueueKind::Quorum), (EFFECTS, QueueKind::Classic)] {
            admin.declare(name, &QueueOptions { kind, single_active_consumer: false, bytes_max: None }).await.unwrap();
        }
        self.deploy(setting, &url, &management);
        // Who may read the Secret is decided in its namespace.
        let account = "--serviceaccount=ms2m-system:ms2m-controller";
        self.cluster.kubectl(&["create", "secret", "generic", SECRET, &format!("--from-literal=url={url}")]).unwrap();
        self.cluster.kubectl(&["create", "rolebinding", "ms2m-broker-secrets", "--clusterrole=ms2m-broker-secrets", account]).unwrap();
        let begun = Instant::now();
        // A broker that is slow to answer does not count.
        while admin.queue_status(QUEUE).await.ok().flatten().is_none_or(|status| status.consumers == 0) {
            assert!(begun.elapsed() < WITHIN, "the counter does not consume");
            sleep(LOOK).await;
        }

        let stop = Arc::new(AtomicBool::new(false));
        let publisher = |number| tokio::spawn(publish(Arc::clone(&broker), QUEUE.to_owned(), number, setting.rate, Arc::clone(&stop)));
        let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
        sleep(Duration::from_secs(1)).await;
        let here = Act { stage: self, setting, url, management, operator: Mutex::new(operator), commands_ms: Mutex::default() };
        act(&here).await;
        assert!(here.operator().is_alive(), "one of ms2m's programs has ended");

        stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for publisher in publishers {
            sent.push(publisher.await.unwrap());
        }
        let audit = audit::audit(&broker, EFFECTS, &sent).await;
        println!("{setting:?}: {audit:?}");
        assert!(audit.exact, "{audit:?}");
        assert_eq!(admin.queue_status(QUEUE).await.unwrap().unwrap().ready, 0, "messages that nobody has applied");
        after(&here).await;
        admin.close().await;
    }

    fn deploy(&self, setting: &Setting, url: &str, management: &str) {
        let counter = workspace_program("counter", "counter").unwrap();
        let image = self.cluster.push("counter", &Image::of(counter)).unwrap();
        let ballast = setting.ballast_mib.to_string();
        let arguments = [
            ["--broker", url],
            ["--management", management],
            ["--queue", QUEUE],
            ["--queue-type", "quorum"],
            ["--effects-to", EFFECTS],
            ["--ballast-mib", &ballast],
        ];
        let arguments = arguments.as_flattened();
        let (manifest, name) = match setting.workload {
            Workload::Deployment => (deployment(&image, arguments), "deployment/orders"),
            Workload::DeploymentWithMore => {
                let ledger = format!("{LEDGER}/counts");
                let arguments = [arguments, &["--ledger", &ledger]].concat();
                (deployment_with_more(&image, &arguments), "deployment/orders")
            }
            Workload::DeploymentWithProbes => (deployment_with_probes(&image, arguments), "deployment/orders"),
            Workload::DeploymentOfSeveral => {
                let tally = self.cluster.push("tally", &Image::of(workspace_program("counter", "tally").unwrap())).unwrap();
                let arguments = [arguments, &["--beside", TALLY]].concat();
                (deployment_of_several((&image, &tally), &arguments), "deployment/orders")
            }
            Workload::StatefulSet(_) => {
                let arguments = [arguments, &["--identity-file", UID_FILE]].concat();
                (stateful_set(&image, &arguments), "statefulset/orders")
            }
        };
        self.cluster.apply(&manifest.to_string()).unwrap();
        self.cluster.kubectl(&["rollout", "status", name, "--timeout=60s"]).unwrap();
    }

    fn get(&self, what: &[&str]) -> Value {
        let said = self.cluster.kubectl(&[&["get"], what, &["--output", "json"]].concat()).unwrap();
        serde_json::from_str(&said).unwrap()
    }
}

/// What not every test needs.
#[allow(dead_code, reason = "not in every test")]
impl Act<'_> {
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.stage.cluster
    }

    pub(crate) fn operator(&self) -> MutexGuard<'_, Operator> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker, and its management.
    pub(crate) fn broker(&self) -> (&str, &str) {
        (&self.url, &self.management)
    }
}

#[allow(dead_code, reason = "not in every test")]
impl Act<'_> {
    /// What `ms2m` says on its standard output, and whether it has ended with this status.
    pub(crate) async fn ms2m(&self, words: &[&str], status: i32) -> String {
        let mut command = self.stage.cluster.command(env!("CARGO_BIN_EXE_ms2m"));
        command.args(words).env("KUBECONFIG", KUBECONFIG).stdin(Stdio::null());
        let output = timeout(WITHIN, Command::from(command).kill_on_drop(true).output()).await.expect("in time").unwrap();
        let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(status), "{words:?}: {complained} {said}");
        said
    }

    /// The consumer's pod, and the node that it is not on.
    pub(crate) fn pod(&self) -> (String, &'static str) {
        let pods = self.stage.get(&["pods", "--selector", "app=orders"]);
        let [pod] = pods["items"].as_array().unwrap().as_slice() else { panic!("one pod: {pods:#}") };
        let to = if pod["spec"]["nodeName"] == "n1" { "n2" } else { "n1" };
        (pod["metadata"]["name"].as_str().unwrap().to_owned(), to)
    }

    /// What is asked for beside pod and node.
    pub(crate) fn consumed(&self) -> [&str; 8] {
        ["--queue", QUEUE, "--broker-secret", SECRET, "--management", &self.management, "--mode", self.setting.mode]
    }

    /// The consumer moves to the other node; the report, and another one when it went on from there.
    pub(crate) async fn migrate(&self) -> Vec<Value> {
        let (pod, to) = self.pod();
        let mut words = [&["migrate", &pod, "--to", to, "--output", "json"], &self.consumed()[..]].concat();
        words.extend(["--transfer", self.setting.transfer]);
        words.extend(self.setting.drivers);
        let repository = format!("{REGISTRY}/checkpoints");
        if self.setting.transfer == "registry" {
            words.extend(["--repository", &repository]);
        }
        if let Workload::StatefulSet(strategy) = self.setting.workload {
            words.extend(["--strategy", strategy]);
        }
        let begun = Instant::now();
        let reports = self.ms2m(&words, 0).await;
        self.commands_ms.lock().unwrap().push(begun.elapsed().as_millis());
        sleep(Duration::from_millis(number("MS2M_PAUSE_MS", PAUSE_MS).into())).await;
        serde_json::Deserializer::from_str(&reports).into_iter().map(Result::unwrap).collect()
    }

    /// The consumer's container is killed, and starts as the application's own image does: in the same pod, with nothing in its memory.
    pub(crate) async fn crashes(&self) {
        self.crashes_in("counter").await;
    }

    /// The same of any container.
    pub(crate) async fn crashes_in(&self, container: &str) {
        let (name, _) = self.pod();
        let pod = self.stage.get(&["pod", &name]);
        let container = |pod: &Value| {
            let mut all = pod["status"]["containerStatuses"].as_array().unwrap().iter();
            all.find(|status| status["name"] == container).unwrap().clone()
        };
        let (node, before) = (if pod["spec"]["nodeName"] == "n1" { Node::N1 } else { Node::N2 }, container(&pod));
        let id = before["containerID"].as_str().unwrap().trim_start_matches("containerd://");
        let mut kill = self.stage.cluster.node(node, "ctr");
        assert!(kill.args(["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id]).status().unwrap().success());
        let begun = Instant::now();
        let after = loop {
            let after = container(&self.stage.get(&["pod", &name]));
            if after["ready"] == true && after["containerID"] != before["containerID"] {
                break after;
            }
            assert!(begun.elapsed() < WITHIN, "{after:#}");
            sleep(LOOK).await;
        };
        assert_eq!(after["restartCount"], 1, "{after:#}");
    }

    /// What a container of the consumer's pod has said, line by line.
    pub(crate) fn said(&self, container: &str) -> Vec<String> {
        let (name, _) = self.pod();
        let log = self.stage.cluster.kubectl(&["logs", &name, "--container", container]).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    /// How often containers of the consumer's pod have been restarted.
    pub(crate) fn restarts(&self) -> u64 {
        let (name, _) = self.pod();
        let pod = self.stage.get(&["pod", &name]);
        let all = pod["status"]["containerStatuses"].as_array().unwrap().iter();
        all.map(|status| status["restartCount"].as_u64().unwrap()).sum()
    }

    /// The ledger in the volume of the consumer's pod, line by line, as its node has it on its disk.
    pub(crate) fn ledger(&self) -> Vec<String> {
        let (name, _) = self.pod();
        let pod = self.stage.get(&["pod", &name]);
        let node = if pod["spec"]["nodeName"] == "n1" { Node::N1 } else { Node::N2 };
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let mut cat = self.stage.cluster.node(node, "cat");
        let output = cat.arg(format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/ledger/counts")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Who has taken the last checkpoint, and who has restored it.
    pub(crate) fn drivers(&self) -> [String; 2] {
        let found = self.stage.get(&["statefulmigrations"]);
        let report = &found["items"].as_array().unwrap().last().unwrap()["status"]["report"];
        ["checkpoint_source", "restore_target"].map(|driver| report[driver].as_str().unwrap().to_owned())
    }

    /// Images that migrations have made, on both nodes, by name.
    pub(crate) fn images(&self) -> Vec<String> {
        let of = |node| {
            let mut list = self.stage.cluster.node(node, "ctr");
            let output = list.args(["--namespace", "k8s.io", "images", "list", "--quiet"]).output().unwrap();
            let all = String::from_utf8(output.stdout).unwrap();
            all.lines().filter(|name| name.contains("ms2m/")).map(str::to_owned).collect::<Vec<_>>()
        };
        [of(Node::N1), of(Node::N2)].concat()
    }

    /// Waits until a migration is in this phase.
    pub(crate) async fn comes_to(&self, migration: &str, phase: &str) {
        let begun = Instant::now();
        loop {
            let status = self.stage.get(&["statefulmigration", migration])["status"].clone();
            if status["phase"] == phase {
                return;
            }
            assert!(begun.elapsed() < WITHIN && status["completionTime"].is_null(), "{status:#}");
            sleep(LOOK).await;
        }
    }

    /// Of all commands, in order of their length.
    pub(crate) fn commands_ms(&self) -> Vec<u128> {
        let mut commands_ms = self.commands_ms.lock().unwrap().clone();
        commands_ms.sort_unstable();
        commands_ms
    }

    pub(crate) fn kubectl(&self, words: &[&str]) {
        self.stage.cluster.kubectl(words).unwrap();
    }

    /// The migrations that there are, by their names.
    pub(crate) fn migrations(&self) -> Vec<String> {
        let found = self.stage.get(&["statefulmigrations"]);
        found["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether an account of `ms2m-system` may do this.
    pub(crate) fn may(&self, account: &str, what: &[&str]) -> bool {
        let who = format!("--as=system:serviceaccount:ms2m-system:{account}");
        // It says no by its exit status.
        self.stage.cluster.kubectl(&[&["auth", "can-i", &who], what].concat()).is_ok_and(|said| said.trim() == "yes")
    }

    /// Waits until the controller has made something for a migration that cannot go on.
    pub(crate) async fn waits(&self, migration: &str) {
        let begun = Instant::now();
        while self.stage.get(&["pods"])["items"].as_array().unwrap().len() < 2 {
            assert!(begun.elapsed() < WITHIN, "{:#}", self.stage.get(&["statefulmigration", migration]));
            sleep(LOOK).await;
        }
    }

    /// There is the workload's own healthy pod on the target, and nothing else.
    pub(crate) async fn is_tidy(&self) {
        let begun = Instant::now();
        loop {
            let pods = self.stage.get(&["pods"]);
            let pods = pods["items"].as_array().unwrap();
            let ready = |pod: &Value| {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            };
            if let [pod] = pods.as_slice()
                && ready(pod)
                && pod["metadata"]["ownerReferences"][0]["kind"] == self.setting.workload.owner()
            {
                return;
            }
            assert!(begun.elapsed() < WITHIN, "{pods:#?}");
            sleep(LOOK).await;
        }
    }
}
