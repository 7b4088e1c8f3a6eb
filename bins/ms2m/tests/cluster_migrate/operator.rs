//! The programs of ms2m in the cluster: an agent on each node, and the controller.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ms2m_testkit::certificates::Authority;
use ms2m_testkit_cluster::{Cluster, Node, Options};
use ms2m_testkit_machine::workspace_program;

/// Its account, and the name in its certificate. An agent has that of its node.
pub(crate) const CONTROLLER: &str = "ms2m-controller";

/// For [`Operator::start_traced`], in the cluster's network.
pub(crate) const COLLECTOR: &str = "10.77.0.1:4318";

/// A cluster whose nodes restore, with a RabbitMQ, and with what the API server must know of ms2m. The programs run beside it, with their rights in it.
pub(crate) fn cluster() -> Cluster {
    cluster_of(Options::default().runtime(program("ms2m-runtime").display().to_string()))
}

/// The same of these nodes.
pub(crate) fn cluster_of(options: Options) -> Cluster {
    let options = options.rabbitmq();
    let cluster = Cluster::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rbac");
    cluster.kubectl(&["apply", "--kustomize", deploy]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/statefulmigrations.migration.ms2m.io"]).unwrap();
    cluster
}

fn own_controller(cluster: &Cluster) -> Command {
    let mut controller = cluster.command(program(CONTROLLER));
    controller.arg("--credentials").arg(credentials(cluster));
    controller
}

/// Where the controller's certificate is.
pub(crate) fn credentials(cluster: &Cluster) -> PathBuf {
    cluster.shared().join(CONTROLLER)
}

/// They end when dropped.
pub(crate) struct Operator {
    logs: PathBuf,
    kubeconfig: PathBuf,
    controller: fn(&Cluster) -> Command,
    /// Where all send their traces.
    collector: Option<&'static str>,
    running: Vec<(&'static str, Child)>,
}

impl Operator {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, own_controller)
    }

    /// With a controller of one's own.
    pub(crate) fn start_with(cluster: &Cluster, controller: fn(&Cluster) -> Command) -> Self {
        Self::start_all(cluster, controller, None)
    }

    /// With traces, to a collector at [`COLLECTOR`].
    #[allow(dead_code, reason = "not in every test")]
    pub(crate) fn start_traced(cluster: &Cluster) -> Self {
        Self::start_all(cluster, own_controller, Some(COLLECTOR))
    }

    fn start_all(cluster: &Cluster, controller: fn(&Cluster) -> Command, collector: Option<&'static str>) -> Self {
        let authority = Authority::new().unwrap();
        for name in ["n1", "n2", CONTROLLER] {
            authority.issue(cluster.path(cluster.shared().join(name)), name).unwrap();
        }
        let logs = cluster.path(cluster.shared());
        let mut operator = Self { logs, kubeconfig: account(cluster, CONTROLLER), controller, collector, running: Vec::new() };
        for name in ["n1", "n2", CONTROLLER] {
            operator.launch(cluster, name, &[]);
        }
        operator
    }

    /// Starts one that does not run, with further options. An agent that is to `--allow` somebody does nothing for controllers.
    pub(crate) fn launch(&mut self, cluster: &Cluster, name: &'static str, options: &[&str]) {
        let mut command = match node(name) {
            Some(node) => {
                let mut agent = cluster.node(node, program("ms2m-agent"));
                let own = cluster.shared().join(name);
                for (option, file) in [("--certificate", "tls.crt"), ("--key", "tls.key"), ("--authority", "ca.crt")] {
                    agent.arg(option).arg(own.join(file));
                }
                if !options.contains(&"--allow") {
                    agent.args(["--controllers", CONTROLLER]);
                }
                agent.arg("--shared-volume").arg(cluster.shared().join("volume"));
                agent
            }
            None => {
                let mut controller = (self.controller)(cluster);
                controller.env("KUBECONFIG", &self.kubeconfig);
                controller
            }
        };
        command.envs(self.collector.map(|collector| ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))));
        let options = if options.is_empty() && node(name).is_some() { &["--free-bytes-min", "0"] } else { options };
        let log = File::options().create(true).append(true).open(self.logs.join(format!("{name}.log"))).unwrap();
        let child = command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.running.push((name, child));
    }

    /// Kills one with no warning. What stands between this process and its own is not enough to kill.
    #[allow(dead_code, reason = "not in every test")]
    pub(crate) fn kill(&mut self, cluster: &Cluster, name: &'static str) {
        let (mut kill, process) = match node(name) {
            Some(node) => (cluster.node(node, "pkill"), "ms2m-agent"),
            None => (cluster.command("pkill"), CONTROLLER),
        };
        assert!(kill.args(["-KILL", "-x", process]).status().unwrap().success(), "{name} does not run");
        let at = self.running.iter().position(|(of, _)| *of == name).unwrap();
        self.running.remove(at).1.wait().unwrap();
    }

    /// Whether all of them run.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.running.len() == 3 && self.running.iter_mut().all(|(_, child)| child.try_wait().unwrap().is_none())
    }
}

pub(crate) fn node(name: &str) -> Option<Node> {
    [Node::N1, Node::N2].into_iter().find(|node| node.to_string() == name)
}

/// A kubeconfig for one of the accounts of ms2m.
pub(crate) fn account(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.account("ms2m-system", name).unwrap()
}

fn program(name: &str) -> PathBuf {
    workspace_program(name, name).unwrap()
}

impl Drop for Operator {
    fn drop(&mut self) {
        for (name, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default();
                println!("==> {name}\n{log}");
            }
        }
    }
}
